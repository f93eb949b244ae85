"""A vendor that is away: what is booked meanwhile arrives in order with the times of the edge, also over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from bridge.model.command import Command, Door, Outcome, Result
from bridge.runtime.bridge import Bridge
from bridge.sim.trackmymachines import Behaviour, TrackMyMachines
from bridge.transport.clock import SystemClock
from tests.flow.plantfloor import HEAD, until
from tests.sites import make_site

SITE = """
sources:
  tmm:
    type: trackmymachines
    events_url: "{app}"
    step_events_url: "{com}"
    api_key: "{key}"
    period: 5s
    requests_per_minute: 6000
    writes: true
    allow: {{part: "PART[0-9]"}}
    user_email: operator@example.com
machines:
  - {{id: mill-1, source: tmm, machine: {{foreign_id: MACHINE_001, display_name: Machine 1, number: 6}}}}
northbound:
  opcua: {{enabled: false}}
  sparkplug: {{enabled: false}}
  uns: {{enabled: false}}
  status: {{port: 0}}
"""


@asynccontextmanager
async def bridge_of(folder: Path, vendor: TrackMyMachines) -> AsyncIterator[Bridge]:
    text = HEAD + SITE.format(app=vendor.app_url, com=vendor.com_url, key=vendor.secret("rw"))
    bridge = Bridge(make_site(folder, text), SystemClock())
    task = asyncio.create_task(bridge.run())
    try:
        await until(lambda: bridge.listening.is_set() or task.done())
        yield bridge
    finally:
        bridge.stop()
        await task


async def book(bridge: Bridge, name: str, **arguments: str | float) -> Outcome:
    now = SystemClock().now()
    target = f"mill-1.Commands.{name}"
    asked = Command(f"test:{name}", target, arguments, Door.ADMIN, "anna", now, now + timedelta(seconds=30))
    return await bridge.desk.submit(asked).result


def pending(bridge: Bridge) -> object:
    tag = bridge.table.plant.find("mill-1.Job.PendingBookings")
    assert tag is not None
    return bridge.table.read(tag).value


async def test_what_is_booked_in_an_outage_arrives_in_order_with_its_times(tmp_path: Path) -> None:
    async with TrackMyMachines(behaviour=Behaviour(feed_delay_s=0), floor=False) as vendor:
        async with bridge_of(tmp_path, vendor) as bridge:
            await until(lambda: bridge.desk.is_connected("tmm"))
            await vendor.faults.refuse()
            started = SystemClock().now()
            outcome = await book(bridge, "StartStep", PartUniqueIdentifier="PART1", StepNumber="10")
            assert outcome.result is Result.QUEUED, outcome
            await until(lambda: pending(bridge) == 1)
        async with bridge_of(tmp_path, vendor) as bridge:  # the vendor is still away
            await asyncio.sleep(2)  # a step of no length would prove little: the vendor has whole seconds
            outcome = await book(bridge, "FinishStep", QtyMade=42.0, ExpectPart="PART1")
            assert outcome.result is Result.QUEUED, outcome
            await until(lambda: pending(bridge) == 2)
            finished = SystemClock().now()
            await vendor.faults.accept()
            await until(lambda: pending(bridge) == 0, 60)
            kinds = [event.kind for event in await bridge.log.newest(50) if event.kind.startswith("Booking")]
            assert kinds == ["BookingDelivered"] * 2
        writes = [one for one in vendor.journal if one.method != "GET" and one.status in (200, 201)]
        assert [one.method for one in writes] == ["POST", "PATCH"]
        (step,) = [event for event in vendor.organisation.events if event.type == "step"]
        assert abs(step.start - started) < timedelta(seconds=2)
        assert step.end is not None
        assert abs(step.end - finished) < timedelta(seconds=3)
        assert step.end > step.start


def last(bridge: Bridge) -> dict[str, object]:
    found = {}
    for name in ("At", "By", "Target", "Requested", "Outcome", "Sentence"):
        tag = bridge.table.plant.find(f"mill-1.Commands.Last.{name}")
        assert tag is not None
        found[name] = bridge.table.read(tag).value
    return found


async def test_the_last_command_is_still_shown_after_a_restart(tmp_path: Path) -> None:
    async with TrackMyMachines(behaviour=Behaviour(feed_delay_s=0), floor=False) as vendor:
        async with bridge_of(tmp_path, vendor) as bridge:
            assert last(bridge)["Outcome"] is None
            await until(lambda: bridge.desk.is_connected("tmm"))
            await book(bridge, "StartStep", PartUniqueIdentifier="PART1", StepNumber="10")
            outcome = await book(bridge, "FinishStep", ExpectPart="PART2")
            await until(lambda: last(bridge)["Target"] == "mill-1.Commands.FinishStep")
            shown = last(bridge)
            assert (shown["Outcome"], shown["Sentence"]) == (outcome.result.value, outcome.sentence)
        async with bridge_of(tmp_path, vendor) as bridge:
            again = last(bridge)
            assert isinstance(again["At"], datetime) and isinstance(shown["At"], datetime)
            assert abs(again.pop("At") - shown.pop("At")) < timedelta(seconds=1)  # type: ignore[operator]
            assert again == shown
