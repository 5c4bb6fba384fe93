"""What the browser tests share: what to do where there is no browser, and patience."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import pytest

HOW = "pip install playwright axe-playwright-python, and a chromium on the PATH or named by OPNORM_CHROMIUM"


def missing(what: str) -> NoReturn:
    """Skip and say so; fail where OPNORM_BROWSER=required."""
    message = f"the page is not tried in a browser: {what}; {HOW}"
    if os.environ.get("OPNORM_BROWSER") == "required":
        pytest.fail(message)
    pytest.skip(message)


def expect(locator: Any) -> Any:
    """Playwright's assertion that waits; no evaluated string, which the page's policy forbids."""
    from playwright.sync_api import expect as waiting

    return waiting(locator)
