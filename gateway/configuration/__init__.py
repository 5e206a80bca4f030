"""From ``gateway.toml``, or a mapping of its shape, to checked settings, lanes and secrets."""
