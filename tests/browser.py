"""Headless Chromium, for tests that look at a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
MISSING = [
    name
    for name, found in (
        ("the package playwright", find_spec("playwright")),
        (f"a browser ({', '.join(NAMES)})", CHROMIUM),
    )
    if not found
]

requires_browser = pytest.mark.skipif(
    bool(MISSING), reason=f"the page tests require {' and '.join(MISSING)}"
)


@contextmanager
def open_browser() -> "Iterator[Browser]":
    """The system's Chromium without a window; use only under ``requires_browser``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            browser.close()
