"""A real browser without a window, which is started once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.cli.conftest import folder, simulate

__all__ = ["chromium", "folder", "simulate"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_INSTALL = "these tests need a real browser: apt-get install chromium, or put one of these on the PATH: "


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's own Chromium: nothing is downloaded."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.fail(HOW_TO_INSTALL + ", ".join(NAMES))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-background-networking"])
        yield browser
        browser.close()
