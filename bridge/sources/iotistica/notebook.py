"""Notebook: what is still known after a restart, a page for each part of the source, in one document."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.ports import Memory


class Notebook:
    """Pages of one memory. `recall` comes first; it may be called again, and reads once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pages: dict[str, Any] | None = None
        self._kept: dict[str, Any] = {}
        self._turn = asyncio.Lock()
        """One reads or writes at a time: parts of the source keep their pages when they like."""

    async def recall(self) -> None:
        """Read what was kept."""
        async with self._turn:
            if self._pages is None:
                kept = await self._memory.recall()
                pages = kept.get("pages")
                self._pages = dict(pages) if isinstance(pages, dict) else {}
                self._kept = dict(self._pages)

    def page(self, name: str) -> Mapping[str, Any]:
        """What is written on a page; empty where nothing is."""
        page = (self._pages or {}).get(name)
        return page if isinstance(page, dict) else {}

    async def keep(self, pages: Mapping[str, Mapping[str, Any]]) -> None:
        """Write these pages, durably; nothing happens where they say what they said."""
        async with self._turn:
            pages_now = {**(self._pages or {}), **pages}
            if pages_now != self._kept:
                await self._memory.keep({"version": 1, "pages": pages_now})
                self._pages, self._kept = dict(pages_now), dict(pages_now)
