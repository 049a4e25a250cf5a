"""Recordings run on a loop of their own, also in a process in which other tests have a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_loop_of_a_browser() -> Iterator[None]:
    """Set aside the loop that Playwright leaves marked as running in its thread: `asyncio.run` refuses to work beside it."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)
