"""Bulk: many requests in one run, within one budget. :mod:`gateway.bulk.run` is the run, :mod:`gateway.bulk.feed` feeds it."""
