"""A whole configuration, and ways to have one read, for the tests of what is read."""

from typing import Any

import pytest

from gateway.configuration.config import Config, load
from providers.errors import ConfigError

KINDS = ("acme", "google", "openai", "vertex")
ENVIRON = {"GEMINI_API_KEY": "gemini-key", "LAOZHANG_API_KEY": "laozhang-key", "SAME_KEY": "gemini-key"}
GOOGLE = {"kind": "google", "api_key": "env:GEMINI_API_KEY"}

FULL = """
[gateway]
egress_country = "hk"
state = "sqlite:///gateway.db"
deadline = { "4k" = 240 }

[router]
sort = "latency"
models = ["nano-banana-2", "gemini-3-pro-image", "gemini-3.1-flash-image"]

[fallback]
order = ["downgrade"]
max_attempts = 2
on_wrong_size = "fallback"
on_no_image = "stop"
on_blocked = "switch"

[providers.google]
kind = "google"
api_key = ["env:GEMINI_API_KEY", "file:keys/second", "env:SAME_KEY"]
timeout = 100
max_concurrency = 8

[providers.laozhang]             # a relay
kind = "openai"
base_url = "https://api.laozhang.ai/v1/"
api_key = "env:LAOZHANG_API_KEY"
dialect = "new-api"
headers = { "X-Team" = "posters" }
proxy = "socks5://user:pass@proxy.example:1080"
download_hosts = ["files.laozhang.ai:443"]
[[providers.laozhang.lanes]]
model = "gemini-3-pro-image"
upstream_model = "gemini-3-pro-image-preview"
sizes = ["1K"]
price = { "1K" = 0.05 }
[[providers.laozhang.lanes]]
model = "gemini-3.1-flash-image"
[providers.laozhang.lanes.price]
"1K" = 0.1

[providers.vertex-eu]
kind = "vertex"
project = "my-project"
location = "eu"
"""


def check(source: Any, environ: dict[str, str] = ENVIRON, **more: Any) -> Config:
    return load(source, environ, **{"kinds": KINDS, **more})


def complaint(source: Any, environ: dict[str, str] = ENVIRON, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(source, environ, **more)
    return str(caught.value)


def with_provider(**table: Any) -> dict[str, Any]:
    return {"providers": {"p": {**GOOGLE, **table}}}
