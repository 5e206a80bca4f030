"""Batch: many requests as one job at an upstream, done within a day at half price. :mod:`gateway.batch.batch` begins it."""
