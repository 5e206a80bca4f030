"""The real adapters, pointed at the scripted server."""

from __future__ import annotations

import asyncio
from typing import Final

from google.oauth2.credentials import Credentials

from providers.exchange import Exchange
from providers.google import GoogleProvider, VertexProvider
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Outcome
from providers.provider import Provider, ProviderSettings
from providers.secret import Secret
from tests.corpus.case import Case
from tests.corpus.server import ScriptedServer

KEY: Final = "corpus-canary-0123456789"
TOKEN: Final = "token-canary-0123456789"


class Adapters:
    """Makes each adapter once: with the SDKs' clients that is what takes the time."""

    def __init__(self, server: ScriptedServer, runner: asyncio.Runner) -> None:
        self._server = server
        self._runner = runner
        self._made: dict[tuple[object, ...], Provider] = {}

    def outcome(self, case: Case) -> Outcome:
        """What comes of *case*."""
        self._server.play(case.answer(self._server.host))
        exchange = Exchange()
        outcome = self._runner.run(self._adapter(case).generate(case.upstream_request(), exchange))
        assert exchange.sent
        return outcome

    async def aclose(self) -> None:
        """Close every adapter."""
        for adapter in self._made.values():
            await adapter.aclose()

    def _adapter(self, case: Case) -> Provider:
        key = (case.wire, case.auth, *sorted(case.options.items()))
        if key not in self._made:
            self._made[key] = self._make(case)
        return self._made[key]

    def _make(self, case: Case) -> Provider:
        options: dict[str, object] = {**case.options, "download_hosts": [self._server.host]}
        if case.kind == "openai":
            options["dialect"] = case.dialect
            return OpenAICompatibleProvider(self._settings(case, options, "/v1"))
        if case.kind == "vertex" or "location" in options:
            return VertexProvider(self._settings(case, options), _credentials)
        return GoogleProvider(self._settings(case, options))

    def _settings(self, case: Case, options: dict[str, object], path: str = "") -> ProviderSettings:
        return ProviderSettings(
            name="corpus",
            kind="google" if case.kind == "imagen" else case.kind,
            api_key=None if "location" in options else Secret(KEY),
            base_url=f"http://{self._server.host}{path}",
            auth=case.auth or None,
            options=options,
        )


def _credentials() -> Credentials:
    return Credentials(token=TOKEN)  # type: ignore[no-untyped-call]
