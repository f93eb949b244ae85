"""The simulated panel in a process of its own: `python -m benchmarks.panel MACHINES RATE_HZ` until it is stopped."""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.sites import SERIALS, SLUG
from bridge.sim.qitech import Panel, SimulatedMachine


async def main(machines: int, rate_hz: float) -> None:
    plugged = [SimulatedMachine(SLUG, SERIALS + number) for number in range(machines)]
    async with Panel(plugged, release="3.0", load=True, live_rate_hz=rate_hz) as panel:
        print(json.dumps({"ready": True, "url": panel.url}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
