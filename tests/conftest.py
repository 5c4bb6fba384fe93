"""Shared by all tests; a real browser for the pages: Debian's Chromium, or the one that OPNORM_CHROMIUM names.

Where there is none the tests of pages skip and say so; with OPNORM_BROWSER=required they fail instead.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from page_browser import missing

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    named = os.environ.get("OPNORM_CHROMIUM")
    path = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing("there is no chromium")
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield found
        found.close()


@dataclass
class Seen:
    """What a page must not do: messages of the console, errors, requests."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open the text of a page from a file; at the end nothing may have been said or asked for."""
    contexts, seen = [], Seen()

    def open_page(text: str, address: str = "", **options: Any) -> Any:
        file = tmp_path / f"report{len(contexts)}.html"
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(f"{file.as_uri()}{address}")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready=all]", timeout=30_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in seen.requests if url.startswith("file:")]) == len(contexts)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and wait for them on a busy machine."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)
