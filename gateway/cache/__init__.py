"""The cache: a result is given again, and drawn once where several ask. :mod:`gateway.cache.read_through` is the way in."""
