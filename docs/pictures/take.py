"""Takes the pictures of the README from a running demo, with a Chromium: python docs/pictures/take.py

It starts `plantbridge demo` on ports of its own, lets it run a little, and stops it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright

HERE = Path(__file__).parent
PORTS = ("--opcua-port", "24840", "--mqtt-port", "21883", "--status-port", "28080")
RUNS_FOR_S = 60
"""Until trends have something to show."""

DESK = {"viewport": {"width": 1200, "height": 760}}
PHONE = {"viewport": {"width": 390, "height": 760}, "device_scale_factor": 1.5}
PICTURES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("overview-light.png", "#/overview", ".card", {**DESK, "color_scheme": "light"}),
    ("tags-dark.png", "#/tags?q=extruder-1+Monitoring", ".row[data-id]", {**DESK, "color_scheme": "dark"}),
    ("phone.png", "#/tags?q=extruder-1+Temperature", ".row[data-id]", {**PHONE, "color_scheme": "light"}),
)


async def main() -> None:
    """Take every picture."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("-m", "bridge", "demo", "--json", "--state-dir", folder, *PORTS)
        demo = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
        assert demo.stdout is not None
        where = json.loads(await demo.stdout.readline())
        try:
            async with async_playwright() as driver:
                browser = await driver.chromium.launch(executable_path=shutil.which("chromium-headless-shell"))
                await asyncio.gather(*(take(browser, where["page"], *picture) for picture in PICTURES))
                await browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            await demo.wait()


async def take(browser: Browser, link: str, name: str, path: str, shown: str, looks: dict[str, Any]) -> None:
    """One picture."""
    page = await browser.new_page(locale="de-DE", **looks)
    await page.goto(link)
    await page.wait_for_selector("#headline")
    await page.goto(link.partition("#")[0] + path)
    await page.wait_for_selector(shown)
    await page.wait_for_timeout(RUNS_FOR_S * 1000)
    await page.screenshot(path=HERE / name)
    print(name, os.path.getsize(HERE / name), "bytes")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
