"""Makes ``import httpx`` mean httpx2 for the whole test run, before any library under test imports it."""

import httpx2

httpx2.alias_httpx()
