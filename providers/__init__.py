"""Adapters to image upstreams, and the nouns they share with the gateway."""
