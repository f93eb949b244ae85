from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited
from bridge.model.calendar import Calendar, Shift
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory
from bridge.model.status import StatusCode
from bridge.sim.clock import VirtualClock
from bridge.sources._budget import JITTER, Budget, Priority
from bridge.sources.quantiix.client import NoData, QuantiixClient, Refused
from bridge.sources.quantiix.intervals import MINUTE
from bridge.transport.http import http_client
from tests.sources.quantiix.account import START, AtAccount, Crash, at_account

ONE, TWO = "MACHINE_001", "MACHINE_002"


async def test_machines_are_found_and_read(caplog: pytest.LogCaptureFixture) -> None:
    async with at_account(3) as at, at.running():
        await at.until(lambda: len(at.heard.payloads) == 3 * 4)
        (inventory,) = at.heard.of(Inventory)
        assert [found.key for found in inventory.appeared] == [ONE, TWO, "MACHINE_003"]
        assert inventory.appeared[0].identity["vendor"] == "quantiix"
        assert at.heard.payloads[ONE, "info"] == {
            "unique_id": ONE,
            "name": "CNC Lathe 1",
            "factory_id": "10",
            "factory": "Main Production Floor",
        }
        assert at.heard.payloads[ONE, "state"]["state"] in ("RUNNING", "IDLE", "OFF")
        await at.until(lambda: at.heard.readings.get("Logins") == 1)
        assert at.heard.readings["TlsVerified"] is False
    assert "clear text" not in caplog.text  # loopback


@pytest.mark.parametrize(
    ("open_end", "clip", "order"),
    list(
        itertools.product(
            ("now", "null", "absent", "requested", "left-out"), ("yes", "no"), ("ascending", "descending")
        )
    ),
)
async def test_whatever_the_page_leaves_open_the_figures_are_the_same(open_end: str, clip: str, order: str) -> None:
    async with at_account(1, open_end=open_end, clip=clip, order=order) as at, at.running():
        await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        kpi = at.heard.payloads[ONE, "kpi"]
        for name, minutes in (("hour", 60), ("day", 1440), ("week", 10_080)):
            told = kpi[name]
            assert told["run"] + told["idle"] + told["off"] + told["unknown"] == pytest.approx(minutes)
            assert told["coverage"] > 90
        timeline = at.vendor.timeline(ONE)
        end = kpi["day"]["end"] // MINUTE
        known = timeline.known(end, end - 1440, False)
        run = sum(one.end - max(one.start, end - 1440) for one in known if one.state == "RUNNING")
        assert kpi["day"]["run"] == pytest.approx(run, abs=3.5)  # the vendor's own delay


@pytest.mark.parametrize("switch", [{"stamps": "s"}, {"durations": "seconds"}, {"no_activity": "200"}])
async def test_what_cannot_be_believed_is_told_and_breaks_nothing(switch: dict[str, str]) -> None:
    async with at_account(1, **switch) as at, at.running():
        await at.until(lambda: (ONE, "state") in at.heard.payloads and (ONE, "kpi") in at.heard.payloads)
        assert (at.heard.payloads[ONE, "kpi"]["day"]["coverage"] == 0) == ("stamps" in switch)


async def test_an_unknown_state_keeps_its_word() -> None:
    async with at_account(1) as at:
        at.vendor.faults.state(ONE, "SETUP", 30, 600)
        async with at.running():
            await at.until(lambda: (ONE, "state") in at.heard.payloads)
            payload = at.heard.payloads[ONE, "state"]
            assert (payload["state"], payload["code"], payload["known"]) == ("SETUP", -1, False)


async def test_a_wrong_password_is_told_as_such() -> None:
    async with at_account() as at:
        with pytest.raises(AuthFailed, match="refused the account"):
            await at.passing(at.source(password="wrong").run(at.heard))


async def test_a_password_that_was_changed_is_noticed_when_the_token_ends() -> None:
    async with at_account() as at:
        source = at.source()
        run = asyncio.create_task(source.run(at.heard))
        await at.until(lambda: (ONE, "state") in at.heard.payloads)
        at.vendor.faults.set_password("another")
        at.vendor.faults.end_tokens()
        with pytest.raises(AuthFailed):
            await at.passing(run)


async def test_a_server_that_is_gone_ends_the_run_and_the_next_one_goes_on_with_its_token() -> None:
    async with at_account() as at:
        source = at.source()
        run = asyncio.create_task(source.run(at.heard))
        await at.until(lambda: (ONE, "state") in at.heard.payloads)
        await at.vendor.faults.refuse()
        with pytest.raises(NotConnected):
            await at.passing(run)
        await at.vendor.faults.accept()
        at.heard.payloads.clear()
        again = asyncio.create_task(source.run(at.heard))
        await at.until(lambda: {channel for _, channel in at.heard.payloads} == {"info", "state", "activity", "kpi"})
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        assert len([r for r in at.vendor.journal if r.path.endswith("getAPIToken")]) == 1


async def test_a_token_killed_under_fifty_calls_is_renewed_once() -> None:
    async with at_account(1) as at:
        source_config = at.source()._config
        client = QuantiixClient(source_config, Budget(100_000, at.clock), at.clock)
        async with http_client(at.vendor.url + "/", max_connections=60) as http:
            with client.connected(http):
                await at.passing(client.machines())
                at.vendor.faults.end_tokens()
                await at.passing(asyncio.gather(*(client.state(ONE) for _ in range(50))))
        assert client.logins == 2


@pytest.mark.parametrize("refusals", [1, 2])
async def test_a_token_that_ends_while_the_account_is_throttled_is_renewed(refusals: int) -> None:
    async with at_account(1) as at:
        client = QuantiixClient(at.source()._config, Budget(100_000, at.clock), at.clock)
        async with http_client(at.vendor.url + "/") as http:
            with client.connected(http):
                await at.passing(client.machines())
                at.vendor.faults.end_tokens()
                at.vendor.faults.throttle(count=refusals)
                assert (await at.passing(client.state(ONE)))[0]
        assert client.logins == 2


async def test_a_token_is_renewed_before_it_ends() -> None:
    async with at_account(1) as at, at.running(state_period="1h"):
        await at.pass_by(49 * 3600, step=60)
        refused = [request for request in at.vendor.journal if request.status == 401]
        assert not refused
        assert at.heard.readings["Logins"] >= 3


async def test_a_429_slows_the_account_and_no_read_is_lost() -> None:
    async with at_account(2) as at, at.running():
        await at.until(lambda: (TWO, "state") in at.heard.payloads)
        at.vendor.faults.spend(100)
        at.heard.payloads.clear()
        await at.until(lambda: at.heard.readings.get("Throttled", 0) > 0 and len(at.heard.payloads) >= 4)
        assert all(condition.status.is_good for condition in at.heard.of(Condition))
        assert at.heard.readings["BudgetRate"] < 80


async def test_five_429s_in_a_row_slow_the_account_and_lose_nothing() -> None:
    async with at_account(2) as at, at.running():
        await at.until(lambda: (TWO, "state") in at.heard.payloads)
        at.vendor.faults.throttle(20, count=5)
        at.heard.payloads.clear()
        begun = at.clock.monotonic()
        await at.until(lambda: (ONE, "state") in at.heard.payloads and (TWO, "state") in at.heard.payloads)
        assert at.clock.monotonic() - begun < 5 * 20 * JITTER + 60
        (slowed,) = at.heard.of(Condition)
        assert (slowed.status, slowed.machine) == (StatusCode.Good, None)
        assert "429" in slowed.reason
        assert "requests_per_minute" in slowed.advice
        await at.until(lambda: len(at.heard.of(Condition)) == 2, step=30)
        assert at.heard.of(Condition)[1].reason == ""


async def test_an_account_that_is_throttled_for_long_is_lost_and_its_readings_say_so() -> None:
    async with at_account(1) as at:
        task = asyncio.create_task(at.source().run(at.heard))
        await at.until(lambda: (ONE, "state") in at.heard.payloads)
        at.vendor.faults.throttle(20, count=None)
        with pytest.raises(RateLimited):
            await at.passing(task)
        refused = sum(request.status == 429 for request in at.vendor.journal)
        assert at.heard.readings["Throttled"] == refused > 20


async def test_a_login_that_is_throttled_waits_and_says_why() -> None:
    async with at_account(1) as at:
        at.vendor.faults.throttle(20, path="*/getAPIToken", count=5)
        async with at.running():
            await at.until(lambda: (ONE, "state") in at.heard.payloads)
        assert at.heard.of(Condition)[0].status is StatusCode.Good


async def test_a_machine_nothing_is_known_of_keeps_its_last_value_uncertain() -> None:
    async with at_account(2) as at, at.running():
        await at.until(lambda: (ONE, "state") in at.heard.payloads)
        at.vendor.faults.silence(ONE)
        await at.until(lambda: at.heard.of(Condition))
        condition = at.heard.of(Condition)[0]
        assert (condition.machine, condition.status) == (ONE, StatusCode.UncertainLastUsableValue)
        at.heard.payloads.clear()
        await at.until(lambda: (TWO, "state") in at.heard.payloads)
        at.vendor.faults.silence(ONE, silent=False)
        await at.until(lambda: (ONE, "state") in at.heard.payloads)


@pytest.mark.parametrize("answer", ["404", "422", "204"])
async def test_a_machine_that_is_removed_is_told_of_and_the_others_go_on(answer: str) -> None:
    async with at_account(2, unknown_machine=answer) as at, at.running():
        await at.until(lambda: (ONE, "state") in at.heard.payloads)
        at.vendor.faults.remove(ONE)
        await at.until(lambda: [c for c in at.heard.of(Condition) if c.machine == ONE])
        at.heard.payloads.clear()
        await at.until(lambda: (TWO, "state") in at.heard.payloads)


async def test_the_list_is_read_daily_with_what_is_new_renamed_and_gone() -> None:
    async with at_account(2) as at, at.running(state_period="1h", activity_period="6h"):
        await at.until(lambda: at.heard.of(Inventory))
        at.vendor.faults.add("MACHINE_NEW", "Laser 1")
        at.vendor.faults.rename(ONE, "CNC Lathe One")
        at.vendor.faults.remove(TWO)
        await at.until(lambda: len(at.heard.of(Inventory)) == 2, step=60)
        changed = at.heard.of(Inventory)[1]
        assert {found.key for found in changed.appeared} == {ONE, "MACHINE_NEW"}
        assert changed.vanished == (TWO,)
        kinds = ("machine_added", "machine_renamed", "machine_removed")
        assert [at.heard.events(kind)[0].machine for kind in kinds] == ["MACHINE_NEW", ONE, TWO]
        await at.until(lambda: ("MACHINE_NEW", "state") in at.heard.payloads)


async def test_a_change_and_a_downtime_are_told_with_the_time_they_began() -> None:
    async with at_account(1) as at:
        at.vendor.faults.state(ONE, "RUNNING", 120, 122)
        at.vendor.faults.state(ONE, "IDLE", -2, 30)
        at.vendor.faults.state(ONE, "RUNNING", -32, 600)
        began = at.clock.now()
        async with at.running(state_period="30s"):
            await at.until(lambda: at.heard.events("downtime_ended"))
        (change,) = [event for event in at.heard.events("state_changed") if event.data["to"] == "IDLE"]
        assert abs((change.time - began).total_seconds() - 60) < 240
        (down,), (up,) = at.heard.events("downtime_started"), at.heard.events("downtime_ended")
        assert abs(down.time - change.time) <= timedelta(minutes=2)
        assert float(up.data["minutes"]) == pytest.approx(30, abs=3)  # type: ignore[arg-type]
        assert down.message.startswith("IDLE since")


async def test_a_stop_between_two_polls_is_told_as_missed_and_its_activity_read() -> None:
    async with at_account(1) as at:
        at.vendor.faults.state(ONE, "RUNNING", 300, 900)
        async with at.running(state_period="10min", activity_period="1h"):
            await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
            at.vendor.faults.state(ONE, "IDLE", -1, 3)
            await at.until(lambda: at.heard.events("missed_transition"))
            await at.until(lambda: at.heard.events("interval_closed"))
            closed = {event.data["state"] for event in at.heard.events("interval_closed")}
            assert "RUNNING" in closed


def busy(at: AtAccount) -> None:
    """From now on it runs and stands in turns of 20 min: something to tell of."""
    for turn in range(60):
        at.vendor.faults.state(ONE, "IDLE" if turn % 2 else "RUNNING", -20 * turn, 20)


def closed_minutes(at: AtAccount, machine: str) -> list[tuple[int, int, str]]:
    events = sorted(at.heard.events("interval_closed", machine), key=lambda event: str(event.data["start"]))
    return [(e.data["start"], e.data["end"], e.data["state"]) for e in events]  # type: ignore[misc]


@pytest.mark.parametrize("clip", ["yes", "no"])
async def test_an_outage_is_read_afterwards_and_every_interval_is_told_once(clip: str) -> None:
    async with at_account(1, clip=clip) as at:
        busy(at)
        async with at.running(activity_period="10min"):
            await at.until(lambda: len(at.heard.events("interval_closed")) >= 3)
        stopped_at = at.clock.now()
        at.clock.advance(5 * 3600)
        async with at.running(activity_period="10min"):
            await at.until(lambda: at.heard.events("backfill_completed"))
            await at.until(lambda: at.clock.now() > stopped_at + timedelta(hours=8))
        told = closed_minutes(at, ONE)
        closings = [event for event in at.heard.items if getattr(event, "kind", "") == "interval_closed"]
        contents = {(event.id, str(event.data)) for event in closings}
        assert len({identifier for identifier, _ in contents}) == len(contents), "an event came again with other words"
        assert len(told) == len({event.id for event in closings})
        for (_, end, state), (start, _, following) in itertools.pairwise(told):
            assert end == start, "an interval was lost"
            assert state != following


async def test_what_is_revised_is_told_as_a_revision() -> None:
    async with at_account(1) as at:
        at.vendor.faults.state(ONE, "RUNNING", 600, 560)
        at.vendor.faults.state(ONE, "IDLE", 40, 200)
        async with at.running(activity_period="1min"):
            await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
            at.vendor.faults.state(ONE, "RUNNING", -1, 900)
            await at.until(lambda: at.heard.events("interval_closed"))
            closed = at.heard.events("interval_closed")[0]
            start, end = at.vendor.faults.revise(ONE)
            assert start < end
            await at.until(lambda: at.heard.events("interval_revised") or len(at.heard.events("interval_closed")) > 2)
            assert closed.data["state"] in ("IDLE", "RUNNING")


async def test_a_restart_in_the_middle_loses_and_doubles_nothing() -> None:
    async with at_account(1) as at:
        busy(at)
        for cut in (1, 2, 3, 5, 8, 13, 16, 20, 24, 28, 32, 40):  # items after which it is stopped: wherever that is
            async with at.running(activity_period="5min"):
                enough = len(at.heard.items) + cut
                await at.until(lambda enough=enough: len(at.heard.items) > enough)  # type: ignore[misc]
            at.clock.advance(2400)
        async with at.running(activity_period="5min"):
            await at.pass_by(1200)
        told = closed_minutes(at, ONE)
        assert len(told) > 2
        for (_, end, _), (start, _, _) in itertools.pairwise(told):
            assert end == start


async def test_today_and_the_shift_have_figures_where_a_calendar_is_wanted() -> None:
    shifts = (Shift("Early", time(6), time(14)), Shift("Late", time(14), time(22)))
    berlin = Calendar(ZoneInfo("Europe/Berlin"), shifts)
    async with at_account(1) as at, at.running(berlin, calendar="shifts"):
        await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        kpi = at.heard.payloads[ONE, "kpi"]
        assert kpi["shift"]["name"] == "Early"
        assert kpi["today"]["name"] == "2026-03-10"
        minutes = (kpi["shift"]["end"] - kpi["shift"]["start"]) / MINUTE
        assert minutes == pytest.approx(4 * 60, abs=4)  # 09:00 UTC is 10:00 in Berlin


async def test_a_clock_of_ours_that_is_wrong_shifts_no_window() -> None:
    async with at_account(1) as at:
        ours = VirtualClock(START - timedelta(hours=3), 0)
        at.clocks.append(ours)
        run = asyncio.create_task(at.source(clock=ours).run(at.heard))
        await at.until(lambda: (ONE, "kpi") in at.heard.payloads and "ClockOffset" in at.heard.readings)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert at.heard.readings["ClockOffset"] == pytest.approx(3 * 3600, abs=120)
        assert at.heard.payloads[ONE, "kpi"]["hour"]["coverage"] > 90
        end = at.heard.payloads[ONE, "kpi"]["hour"]["end"] / 1000
        assert end == pytest.approx(at.clock.now().timestamp(), abs=300)


async def test_calls_refuse_what_is_no_machine() -> None:
    async with at_account(1, unknown_machine="422", error_body="json") as at:
        client = QuantiixClient(at.source()._config, Budget(1000, at.clock), at.clock)
        async with http_client(at.vendor.url + "/") as http:
            with client.connected(http):
                with pytest.raises(Refused, match="422"):
                    await at.passing(client.state("NOBODY"))
                at.vendor.faults.silence(ONE)
                with pytest.raises(NoData):
                    await at.passing(client.state(ONE))


async def test_a_server_that_was_restarted_has_closed_the_connection_and_forgotten_the_token() -> None:
    async with at_account(1) as at, at.running() as source:
        await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        at.vendor.faults.end_tokens()
        at.vendor.faults.reset()
        at.heard.payloads.clear()
        await at.until(lambda: (ONE, "state") in at.heard.payloads)
        assert source._client.logins == 2


@pytest.mark.parametrize("fault", ["500", "503", "malformed", "403"])
async def test_a_failure_of_one_machine_is_that_machines_and_ends_with_it(fault: str) -> None:
    async with at_account(2) as at, at.running():
        await at.until(lambda: len(at.heard.payloads) == 2 * 4)
        where = {"path": "/api/v1/machineState", "count": 1}
        if fault == "malformed":
            at.vendor.faults.malformed(**where)  # type: ignore[arg-type]
        else:
            at.vendor.faults.status(int(fault), **where)  # type: ignore[arg-type]
        await at.until(lambda: at.heard.of(Condition))
        (condition,) = at.heard.of(Condition)
        assert condition.machine in (ONE, TWO)
        assert condition.channel == "state"
        at.heard.payloads.clear()
        await at.until(lambda: (ONE, "state") in at.heard.payloads and (TWO, "state") in at.heard.payloads)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_that_fails_for_every_machine_is_lost(status: int) -> None:
    async with at_account(2) as at:
        run = asyncio.create_task(at.source().run(at.heard))
        await at.until(lambda: len(at.heard.payloads) == 2 * 4)
        at.vendor.faults.status(status, method="GET", count=None)
        with pytest.raises((NotConnected, ProtocolError)):
            await at.passing(run)


async def test_a_month_without_records_does_not_hide_what_came_after_it() -> None:
    async with at_account(1) as at:
        async with at.running():
            await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        at.clock.advance(60 * 86_400)
        at.vendor.faults.gap(ONE, 60 * 1440, 50 * 1440)
        at.heard.payloads.clear()
        async with at.running(max_backfill="90d"):
            await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        assert at.heard.payloads[ONE, "kpi"]["day"]["coverage"] > 90
        assert at.heard.events("backfill_completed")


async def test_what_is_before_max_backfill_is_told_as_a_gap_once() -> None:
    async with at_account(1) as at:
        async with at.running():
            await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        stopped = at.clock.now()
        at.clock.advance(20 * 86_400)
        back = at.clock.now()
        async with at.running(max_backfill="10d"):
            await at.until(lambda: at.heard.events("backfill_completed"))
            await at.pass_by(3600, step=30)
        (gap,) = at.heard.events("backfill_gap", ONE)
        (read,) = at.heard.events("backfill_completed", ONE)
        since, until = (datetime.fromisoformat(str(gap.data[name])) for name in ("from", "to"))
        assert abs(since - stopped) < timedelta(minutes=30)
        assert abs(until - (back - timedelta(days=10))) < timedelta(minutes=5)
        assert read.data["from"] == gap.data["to"]


async def test_a_machine_that_went_silent_has_no_minutes_invented_and_nothing_taken_back() -> None:
    async with at_account(1) as at, at.running():
        at.vendor.faults.state(ONE, "IDLE", 200, 30)
        at.vendor.faults.state(ONE, "RUNNING", 170, 170)
        await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
        at.vendor.faults.gap(ONE, 0, 600)
        at.vendor.faults.no_content(path="/api/v1/machineState", count=None)
        await at.pass_by(3 * 3600, step=10)
        assert at.heard.payloads[ONE, "kpi"]["hour"]["unknown"] > 55
        at.vendor.faults.no_content(path="/api/v1/machineActivity", count=None)
        await at.pass_by(3600, step=10)
        kpi = at.heard.payloads[ONE, "kpi"]
        assert kpi["hour"]["unknown"] == pytest.approx(60)
        assert not kpi["hour"]["enough"]
        assert kpi["hour"]["end"] == pytest.approx(at.clock.now().timestamp() * 1000, abs=900_000)
        assert not at.heard.events("interval_revised")


async def test_what_is_down_is_told_once_though_the_rest_of_the_machine_is_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with at_account(1) as at, at.running():
        caplog.set_level("INFO")
        await at.until(lambda: len(at.heard.payloads) == 4)
        at.vendor.faults.no_content(path="/api/v1/machineActivity", count=None)
        await at.pass_by(3600, step=10)
        lines = [record.getMessage() for record in caplog.records if ONE in record.getMessage()]
        assert len(lines) == 1, lines


async def test_a_machine_that_is_refused_has_the_list_read_again_and_a_list_that_failed_is_read_soon() -> None:
    async with at_account(2) as at, at.running():
        await at.until(lambda: len(at.heard.payloads) == 2 * 4)
        at.vendor.faults.status(500, path="/api/v1/machineInfo", count=1)
        at.vendor.faults.remove(TWO)
        await at.pass_by(1800, step=10)
        assert [inventory.vanished for inventory in at.heard.of(Inventory)[1:]] == [(TWO,)]
        lists = [request for request in at.vendor.journal if request.path.endswith("machineInfo")]
        assert len(lists) == 3


async def test_a_machine_that_left_the_list_is_forgotten_once_nothing_of_it_would_be_read_again() -> None:
    async with at_account(2) as at:
        async with at.running(max_backfill="8d"):
            await at.until(lambda: len(at.heard.payloads) == 2 * 4)
        at.vendor.faults.remove(TWO)
        for days, known in ((7, {ONE, TWO}), (2, {ONE})):
            at.clock.advance(days * 86_400)
            at.heard.payloads.clear()
            async with at.running(max_backfill="8d"):
                await at.until(lambda: (ONE, "kpi") in at.heard.payloads)
            assert set(at.memory.document["machines"]) == known


@pytest.mark.parametrize("pause", [15, 35])
@pytest.mark.parametrize("lost", ["before it is kept", "before it is told", "before it is kept that it was told"])
async def test_a_change_that_was_told_of_just_before_a_crash_is_told_once(lost: str, pause: float) -> None:
    async with at_account(1) as at:
        at.vendor.faults.state(ONE, "RUNNING", 120, 122)
        at.vendor.faults.state(ONE, "IDLE", -2, 300)
        at.vendor.faults.date_skew(30)  # or the vendor's grid and ours would be one, and the estimates too
        is_told = is_gone = False

        def crash(item: object) -> bool:
            nonlocal is_gone
            is_gone = is_gone or ends(item)
            return is_gone

        def ends(item: object) -> bool:
            nonlocal is_told
            is_change = isinstance(item, Event) and item.kind == "state_changed"
            is_told |= is_change
            if isinstance(item, Event):
                return is_change and lost == "before it is told"
            latched = item["machines"][ONE]["latched"] if isinstance(item, dict) and ONE in item["machines"] else None
            if lost == "before it is kept":
                return latched is not None and latched[0] == "IDLE"
            return lost == "before it is kept that it was told" and is_told

        at.memory.crash = at.heard.crash = crash
        run = asyncio.create_task(at.source(state_period="30s").run(at.heard))
        with pytest.raises((Crash, BaseExceptionGroup)):
            await at.passing(run)
        assert is_gone
        at.memory.crash = at.heard.crash = lambda item: False
        at.clock.advance(pause)
        async with at.running(state_period="30s"):
            await at.pass_by(1800, step=10)
        changes = [event for event in at.heard.events("state_changed") if event.data["to"] == "IDLE"]
        assert len(changes) == 1


async def test_a_turn_that_waited_for_a_login_is_not_used_afterwards() -> None:
    async with at_account(1) as at:
        budget = Budget(1000, at.clock)
        client = QuantiixClient(at.source()._config, budget, at.clock)
        client._logged_in_at = at.clock.monotonic()  # the next login has to wait
        async with http_client(at.vendor.url + "/") as http:
            with client.connected(http):
                turn = await budget.turn(Priority.STATE)
                await at.passing(client.state(ONE, turn))
        assert len(budget._turns) == 3
