"""The timeline, against the simulator on sockets."""

from __future__ import annotations

import pytest

from bridge.errors import AuthFailed, NotConnected, RateLimited
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Reading
from bridge.model.status import StatusCode
from tests.sources.trackmymachines.rig import Rig, rig

EVERY_WAY = [
    {"selection": selection, "filters": filters, "types_omitted": omitted}
    for selection in ("overlap", "start-in-window")
    for filters in ("rails", "lenient")
    for omitted in ("all", "none")
]


@pytest.mark.parametrize("behaviour", EVERY_WAY, ids=lambda switches: " ".join(switches.values()))
async def test_every_type_is_told_whatever_the_vendors_pages_leave_open(behaviour: dict[str, str]) -> None:
    async with rig(behaviour) as tmm:
        running = tmm.insert("step", "PART1", start=-3600)
        async with tmm.running():
            await tmm.polled()
            ids = {
                kind: tmm.insert(kind, kind)
                for kind in ("cycle", "shift_period", "activity_reason", "work_order_operation")
            }
            part = tmm.insert("part_count", "1", 0, 0)
            await tmm.advance(120, 30)
            for identifier in (*ids.values(), running):
                tmm.faults.close(identifier)
            await tmm.advance(120, 30)
        for kind, identifier in {**ids, "step": running}.items():
            assert tmm.heard.told(identifier) == [f"{kind}_opened", f"{kind}_closed"]
        assert tmm.heard.told(part) == ["part_count_closed"]
        assert tmm.heard.changed == []


SPELLED = {
    "brackets": "machine_foreign_ids%5B%5D=MACHINE_001&machine_foreign_ids%5B%5D=MACHINE_002",
    "comma": "machine_foreign_ids=MACHINE_001%2CMACHINE_002",
    "repeat": "machine_foreign_ids=MACHINE_001&machine_foreign_ids=MACHINE_002",
}
UNDERSTOOD = {
    "rails": ("brackets", "comma"),
    "array": ("brackets",),
    "comma": ("comma",),
    "lenient": ("brackets", "comma", "repeat"),
}


@pytest.mark.parametrize("parser", UNDERSTOOD)
@pytest.mark.parametrize("style", ["none", *SPELLED])
async def test_a_filter_is_used_where_the_vendor_understands_it_and_no_event_is_lost_where_not(
    style: str, parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig({"filters": parser}, filters=style) as tmm:
        tmm.wanted = ["MACHINE_001", "MACHINE_002"]
        for machine in ("MACHINE_001", "MACHINE_002", "Laser 3"):
            tmm.insert("cycle", "1", -60, -30, machine=machine)
        async with tmm.running():
            await tmm.polled()
            told = [tmm.insert("step", f"PART{n}", machine=f"MACHINE_00{n}") for n in (1, 2)]
            other = tmm.insert("step", "PART3", machine="Laser 3")
            await tmm.advance(60, 15)
        for step in told:
            assert tmm.heard.told(step) == ["step_opened"]
        assert tmm.heard.told(other) == []
        asked = tmm.simulator.journal.of("/api/v1/events")[-1].path
        is_used = style in UNDERSTOOD[parser]
        assert asked.endswith(SPELLED[style]) if is_used else "machine_foreign_ids" not in asked
        assert ("events are missing" in caplog.text) == (style != "none" and not is_used)


@pytest.mark.parametrize("style", SPELLED)
@pytest.mark.parametrize("parser", UNDERSTOOD)
async def test_a_filter_of_one_machine_is_understood_by_every_vendor(style: str, parser: str) -> None:
    async with rig({"filters": parser}, filters=style) as tmm:
        tmm.wanted = ["MACHINE_001"]
        tmm.insert("cycle", "1", -60, -30)
        async with tmm.running():
            await tmm.polled()
            step = tmm.insert("step", "PART1")
            await tmm.advance(60, 15)
        assert tmm.heard.told(step) == ["step_opened"]
        assert tmm.simulator.journal.of("/api/v1/events")[-1].path.endswith("machine_foreign_ids=MACHINE_001")


async def test_a_machine_that_is_wanted_later_is_filtered_for_too() -> None:
    async with rig(filters="brackets") as tmm:
        tmm.wanted = ["MACHINE_001"]
        tmm.insert("cycle", "1", -60, -30)
        async with tmm.running():
            await tmm.polled()
            tmm.wanted.append("MACHINE_002")
            step = tmm.insert("step", "PART1", machine="MACHINE_002")
            await tmm.advance(60, 15)
        assert tmm.heard.told(step) == ["step_opened"]
        assert tmm.simulator.journal.of("/api/v1/events")[-1].path.endswith(SPELLED["brackets"])


@pytest.mark.parametrize("selection", ["overlap", "start-in-window"])
async def test_step_that_closes_30_hours_after_its_start_is_told_once(selection: str) -> None:
    async with rig({"selection": selection}) as tmm:
        async with tmm.running():
            await tmm.polled()
            step = tmm.insert("step", "PART1")
            await tmm.advance(30 * 3600)
            assert tmm.heard.told(step) == ["step_opened"]
            assert tmm.heard.value("step", "active")
            tmm.faults.close(step)
            await tmm.until(lambda: len(tmm.heard.told(step)) > 1, step=60)
            await tmm.advance(3600)
        assert tmm.heard.told(step) == ["step_opened", "step_closed"]
        assert not tmm.heard.value("step", "active")
        assert tmm.heard.value("step", "last", "duration") >= 30 * 3600
        for request in tmm.simulator.journal.of("/api/v1/events"):
            assert request.status == 200, request


async def test_what_was_over_before_we_listened_is_known_and_not_told() -> None:
    async with rig() as tmm:
        old = tmm.insert("activity_reason", "Cleaning", -7200, -3600)
        async with tmm.running():
            await tmm.polled()
            assert tmm.heard.told(old) == []
            assert tmm.heard.value("downtime", "last", "label") == "Cleaning"
            tmm.faults.relabel(old, "Breakdown")
            await tmm.until(lambda: tmm.heard.told(old), step=30)
        (event,) = tmm.heard.events.values()
        assert event.kind == "activity_reason_corrected"
        assert (event.data["label_before"], event.data["label"]) == ("Cleaning", "Breakdown")


async def test_late_edits_of_the_past_are_seen_by_the_sweeps() -> None:
    async with rig() as tmm:
        async with tmm.running():
            await tmm.polled()
            stop = tmm.insert("activity_reason", "Unclassified")
            await tmm.advance(60, 30)
            tmm.faults.close(stop)
            await tmm.advance(12 * 3600)
            tmm.faults.relabel(stop, "No material")
            await tmm.until(lambda: len(tmm.heard.told(stop)) > 2, step=30)
            late = tmm.insert("activity_reason", "Forgotten", -5 * 3600, -4 * 3600)
            await tmm.until(lambda: tmm.heard.told(late), step=30)
            await tmm.advance(3 * 86_400, 3600)
            tmm.faults.relabel(stop, "Breakdown")
            await tmm.until(lambda: len(tmm.heard.told(stop)) > 3, step=600)
        assert tmm.heard.told(stop) == [
            "activity_reason_opened", "activity_reason_closed", *["activity_reason_corrected"] * 2,
        ]  # fmt: skip
        assert tmm.heard.told(late) == ["activity_reason_backfilled"]


async def test_event_that_is_deleted_is_retracted_after_two_readings() -> None:
    async with rig() as tmm:
        async with tmm.running():
            await tmm.polled()
            wrong = tmm.insert("step", "PART1")
            await tmm.advance(30, 15)
            assert tmm.heard.value("step", "active")
            tmm.faults.delete(wrong)
            await tmm.advance(60, 15)
            assert not tmm.heard.value("step", "active")
        assert tmm.heard.told(wrong) == ["step_opened", "step_retracted"]


async def test_planned_end_is_no_end_before_its_time() -> None:
    async with rig() as tmm:
        async with tmm.running():
            await tmm.polled()
            shift = tmm.faults.plan_shift("MACHINE_001", "Early", 1)
            await tmm.advance(1800)
            assert tmm.heard.value("shift", "name") == "Early"
            assert tmm.heard.told(shift) == ["shift_period_opened"]
            await tmm.advance(2400)
            assert not tmm.heard.value("shift", "active")
        assert tmm.heard.told(shift) == ["shift_period_opened", "shift_period_closed"]


async def test_machines_show_themselves_and_events_without_one_are_counted() -> None:
    async with rig() as tmm:
        tmm.insert("cycle", "1", -60, -30, machine="MACHINE_002")
        tmm.insert("cycle", "2", -60, -30, machine="Laser 3")
        async with tmm.running():
            await tmm.until(lambda: tmm.heard.readings.get("UnmappedEvents") == 1)
        (inventory,) = [item for item in tmm.heard.items if isinstance(item, Inventory)]
        assert [found.key for found in inventory.appeared] == ["MACHINE_002"]
        (condition,) = [item for item in tmm.heard.items if isinstance(item, Condition)]
        assert condition.machine == "MACHINE_001"
        assert "foreign_id" in condition.advice


async def test_outage_of_days_is_made_up_for_oldest_first_and_nothing_is_told_twice() -> None:
    async with rig() as tmm:
        async with tmm.running():
            await tmm.polled()
            before = tmm.insert("step", "PART1")
            await tmm.advance(60, 15)
        ids = []
        for _ in range(3):
            tmm.clock.advance(86_400)
            ids.append(tmm.insert("activity_reason", "Breakdown", -7200, -3600))
        tmm.faults.close(before)
        start = len(tmm.simulator.journal)
        async with tmm.running():
            await tmm.polled()
        for identifier in ids:
            assert tmm.heard.told(identifier) == ["activity_reason_opened", "activity_reason_closed"]
        replayed = [e for e in tmm.heard.events.values() if e.data.get("vendor_id") == ids[0]]
        assert all(event.data["replayed"] for event in replayed)
        await _closes_by_anchor(tmm, before)
        windows = [request.path for request in tmm.simulator.journal[start:] if "types=" not in request.path]
        assert all(request.status == 200 for request in tmm.simulator.journal[start:])
        assert len(windows) >= 4
        assert "tmm:backfill_completed" in " ".join(tmm.heard.events)


async def _closes_by_anchor(tmm: Rig, step: str) -> None:
    async with tmm.running():
        await tmm.until(lambda: len(tmm.heard.told(step)) > 1, step=15)
    assert tmm.heard.told(step) == ["step_opened", "step_closed"]
    assert tmm.heard.changed == []


@pytest.mark.parametrize("skew", [-600, 600])
async def test_skewed_clock_of_ours_shifts_no_window(skew: float) -> None:
    async with rig() as tmm:

        class Skewed:
            def now(self):  # type: ignore[no-untyped-def]
                from datetime import timedelta

                return tmm.clock.now() + timedelta(seconds=skew)

            monotonic = staticmethod(tmm.clock.monotonic)
            sleep = staticmethod(tmm.clock.sleep)

        tmm.source_clock = Skewed()
        async with tmm.running():
            await tmm.polled()
            step = tmm.insert("step", "PART1")
            await tmm.advance(120, 15)
            tmm.faults.close(step)
            await tmm.advance(120, 15)
            await tmm.until(lambda: "ClockOffset" in tmm.heard.readings)
        assert tmm.heard.told(step) == ["step_opened", "step_closed"]
        assert abs(tmm.heard.readings["ClockOffset"] + skew) < 2
        for request in tmm.simulator.journal.of("/api/v1/events")[1:]:  # the first has learned the vendor's clock
            end = request.path.partition("to=")[2][:22].replace("%3A", ":")
            assert end[:19] <= request.when.strftime("%Y-%m-%dT%H:%M:%S"), request


async def test_vendors_date_that_is_wrong_by_itself_loses_nothing() -> None:
    async with rig() as tmm:
        tmm.faults.date_skew(-1200)
        async with tmm.running():
            await tmm.until(lambda: tmm.heard.readings.get("Watermark"))
            step = tmm.insert("step", "PART1")
            await tmm.until(lambda: tmm.heard.told(step), step=15)
            tmm.faults.date_skew(0)
            tmm.faults.close(step)
            await tmm.until(lambda: len(tmm.heard.told(step)) > 1, step=15)
        assert tmm.heard.told(step) == ["step_opened", "step_closed"]


class Fate:
    """Ends the process once, before the n-th event that is published or document that is kept; then it is gone."""

    def __init__(self, after: int | None) -> None:
        self.left = after
        self.is_gone = False

    def __call__(self, item: object) -> bool:
        if self.left is not None and isinstance(item, Event | Inventory | dict):
            self.left -= 1
            self.is_gone = self.left < 0
        return self.is_gone

    def come_back(self) -> None:
        if self.is_gone:
            self.left, self.is_gone = None, False


async def story(after: int | None) -> tuple[set[str], list[str], bool]:
    """What was told of a few things that happen; and what came again as something else; and whether it crashed."""
    async with rig() as tmm:
        fate = Fate(after)
        tmm.heard.crash = tmm.disk.crash = fate
        old = tmm.insert("activity_reason", "Cleaning", -3600, -1800)
        ids: list[str] = []
        todo = [
            lambda: ids.append(tmm.insert("step", "PART1")),
            lambda: ids.append(tmm.insert("activity_reason", "Unclassified")),
            lambda: tmm.faults.close(ids[1]),
            lambda: tmm.faults.relabel(ids[1], "Tool change"),
            lambda: (tmm.faults.relabel(old, "Breakdown"), tmm.insert("cycle", "1", -30, -5)),
            lambda: (tmm.faults.close(ids[0]), tmm.insert("step", "PART2"), tmm.insert("part_count", "1", 0, 0)),
            lambda: tmm.faults.delete(ids[1]),
            *[lambda: tmm.clock.advance(300)] * 4,
        ]
        crashed = False
        while todo:
            async with tmm.running() as task:
                while todo:
                    tmm.clock.advance(40)
                    now = tmm.now
                    await tmm.until(lambda now=now: tmm.read_until >= now or task.done(), step=5)
                    if task.done():
                        assert fate.is_gone
                        break
                    todo.pop(0)()
            crashed |= fate.is_gone
            fate.come_back()
        return {f"{e.kind} {e.data.get('label')}" for e in tmm.heard.events.values()}, tmm.heard.changed, crashed


async def test_every_crash_loses_nothing_and_doubles_nothing() -> None:
    expected, changed, crashed = await story(None)
    assert changed == []
    assert not crashed
    assert expected == {
        "step_opened PART1", "step_closed PART1", "step_opened PART2", "part_count_closed 1", "cycle_opened 1",
        "cycle_closed 1", "activity_reason_opened Unclassified", "activity_reason_closed Unclassified",
        "activity_reason_corrected Tool change", "activity_reason_retracted Tool change",
        "activity_reason_corrected Breakdown",
    }  # fmt: skip
    after, crashed = 0, True
    while crashed:
        told, changed, crashed = await story(after)
        assert told == expected, after
        assert changed == [], after
        after += 1
    assert after > 15


async def test_refused_key_says_what_to_do() -> None:
    async with rig() as tmm:
        tmm.options["api_key"] = tmm.simulator.secret("expired")
        with pytest.raises(AuthFailed) as raised:
            await tmm.make().run(tmm.heard.publish)
        assert "api_key" in raised.value.advice
        assert tmm.simulator.secret("expired") not in str(raised.value)


async def test_one_failure_is_bridged_and_several_are_a_loss() -> None:
    async with rig() as tmm, tmm.running() as task:
        await tmm.polled()
        tmm.faults.status(502, path="/api/v1/events")
        await tmm.advance(30, 15)
        assert not task.done()
        tmm.faults.status(503, path="/api/v1/events", count=None)
        await tmm.until(task.done, step=15)
        with pytest.raises(NotConnected):
            task.result()


async def test_throttling_is_obeyed() -> None:
    async with rig() as tmm:
        async with tmm.running():
            await tmm.polled()
            tmm.faults.throttle(30, path="/api/v1/events")
            await tmm.until(lambda: tmm.simulator.journal[-1].status == 429)
            refused = tmm.simulator.journal[-1].when
            count = len(tmm.simulator.journal)
            await tmm.until(lambda: len(tmm.simulator.journal) > count)
        assert (tmm.simulator.journal[count].when - refused).total_seconds() >= 30


async def test_throttling_slows_and_only_lasting_is_a_loss() -> None:
    async with rig() as tmm, tmm.running() as task:
        await tmm.polled()
        tmm.faults.throttle(20, path="/api/v1/events", count=5)
        await tmm.advance(60, 15)
        (slowed,) = [item for item in tmm.heard.items if isinstance(item, Condition) and item.machine is None]
        assert (slowed.status, "429" in slowed.reason, task.done()) == (StatusCode.Good, True, False)
        tmm.faults.throttle(20, count=None)
        await tmm.until(task.done, step=5)
        with pytest.raises(RateLimited):
            task.result()
        assert tmm.heard.readings["HttpStatus"] == 429
        assert tmm.heard.readings["Throttled"] == sum(one.status == 429 for one in tmm.simulator.journal) > 20


async def test_key_that_ends_meanwhile_is_what_the_readings_tell() -> None:
    async with rig() as tmm, tmm.running() as task:
        await tmm.polled()
        tmm.faults.status(401, count=None)
        await tmm.until(task.done, step=15)
        with pytest.raises(AuthFailed):
            task.result()
        assert (tmm.heard.readings["HttpStatus"], tmm.heard.readings["LastError"]) == (401, "status 401")


async def test_what_has_no_value_says_why() -> None:
    async with rig() as tmm, tmm.running():
        await tmm.polled()
        said = {item.name: item for item in tmm.heard.items if isinstance(item, Reading)}
        assert "api_key_expires" in said["KeyExpiresInDays"].extra["reason"]


async def test_window_that_is_too_much_is_halved_and_read_whole() -> None:
    async with rig() as tmm:
        async with tmm.running():
            await tmm.polled()
            step = tmm.insert("step", "PART1")
            await tmm.advance(60, 15)
        tmm.clock.advance(8 * 3600)
        tmm.faults.close(step)
        tmm.faults.status(422, '{"error": "too many rows"}', path="/api/v1/events", skip=1, count=3)
        async with tmm.running():
            await tmm.polled()
            await tmm.until(lambda: len(tmm.heard.told(step)) > 1, step=15)
        assert tmm.heard.told(step) == ["step_opened", "step_closed"]


async def test_sums_of_step_events_are_told_of_both_editions() -> None:
    for edition in ("2025-05", "2025-07"):
        async with rig({"edition": edition}, floor=True, edition=edition) as tmm:
            async with tmm.running():
                await tmm.until(lambda: ("MACHINE_001", "totals") in tmm.heard.channels)
            totals = tmm.heard.channels["MACHINE_001", "totals"]
            assert totals["steps"] >= 1
            assert totals["cycle_time"] > 0
            assert (totals["cycles"] is not None) == (edition == "2025-07")


async def test_no_address_of_anybody_is_published() -> None:
    async with rig({"edition": "2025-07"}, floor=True, edition="2025-07", user_email="user@example.com") as tmm:
        async with tmm.running():
            await tmm.until(lambda: ("MACHINE_001", "totals") in tmm.heard.channels)
            await tmm.advance(3600)
        assert "@" not in repr(tmm.heard.items)
        assert "@" not in tmm.disk.document
