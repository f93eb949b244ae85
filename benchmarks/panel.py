"""The simulated panel in a process of its own, until it is stopped.

`python -m benchmarks.panel MACHINES RATE_HZ [RELEASE]`: 3.0 in load mode (every value changes in every event), or that
release as it is. A line "slow SECONDS" delays every REST answer from then on; any other one ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.sites import SERIALS, SLUG
from bridge.sim.qitech import Panel, SimulatedMachine


async def main(machines: int, rate_hz: float, release: str = "") -> None:
    plugged = [SimulatedMachine(SLUG, SERIALS + number) for number in range(machines)]
    async with Panel(plugged, release=release or "3.0", load=not release, live_rate_hz=rate_hz) as panel:
        say({"ready": True, "url": panel.url})
        while (words := await asyncio.to_thread(sys.stdin.readline)).startswith("slow "):
            panel.faults.slow(float(words.split()[1]))
            say({"slow": words.split()[1]})


def say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]))
