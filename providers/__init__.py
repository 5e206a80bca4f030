"""Adapters to image upstreams, and the nouns they share with the gateway.

What somebody who writes an adapter imports stands in :mod:`providers.provider`, :mod:`providers.request`,
:mod:`providers.outcome`, :mod:`providers.exchange` and :mod:`providers.images`.
"""

DISTRIBUTION = "image-gateway"
"""By this ``gateway`` knows its own package from an application's folder of the same name."""
