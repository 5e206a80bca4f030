"""Measurements: each side by side with what it is compared to, in fresh processes, medians of several runs."""
