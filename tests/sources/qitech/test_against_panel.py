"""The source against a panel that is as unkind as the real one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import AuthFailed, NotConnected
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sim.qitech.catalogue import Release
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from bridge.sources.qitech.config import QitechConfig
from bridge.sources.qitech.source import QitechSource
from tests.sources.qitech.listener import HurriedClock, Listener, keys, outcome, running, until

EXTRUDER, WINDER, LASER, UNROUTED = "1/4/57922", "1/2/57923", "1/6/1", "1/22/57925"
MACHINES = (
    SimulatedMachine("extruder_v1", 57922),
    SimulatedMachine("winder_v1", 57923),
    SimulatedMachine("laser_v1", 1),
    SimulatedMachine("extruder_v2", 57925),
)
EXTRUDER_SLUG = ("extruder_v1", 57922)
BOTH = pytest.mark.parametrize("release", ["2.17", "3.0"])


@asynccontextmanager
async def panel_of(
    release: str, machines: tuple[SimulatedMachine, ...] = MACHINES, **more: Any
) -> AsyncIterator[Panel]:
    """A panel that must be neither killed nor asked what is forbidden."""
    async with Panel(machines, release=release, **more) as panel:
        yield panel
        assert panel.forbidden_requests == 0
        assert panel.crashes == []


def config_of(panel: Panel, **keys: Any) -> QitechConfig:
    written = {
        "type": "qitech",
        "url": panel.url,
        "password": panel.password,
        "ca_file": str(panel.ca_file) if panel.ca_file else None,
        "poll_period": "1s",
    }
    return QitechConfig.model_validate(written | keys)


def source_of(panel: Panel, *, wanted: set[str] | None = None, speed: float = 10.0, **keys: Any) -> QitechSource:
    return QitechSource("panel", config_of(panel, **keys), HurriedClock(speed), wanted)


def requests_for(panel: Panel, text: str) -> list[str]:
    return [request.path for request in panel.journal if text in request.path]


# -- values


async def test_2x_is_polled_and_what_has_no_route_is_streamed() -> None:
    async with panel_of("2.17") as panel:
        listener = Listener()
        async with running(source_of(panel, speed=1.0), listener):
            for key in (EXTRUDER, WINDER, LASER, UNROUTED):
                await listener.values_of(key)
            await listener.until(lambda: len(listener.all(Observation, machine=EXTRUDER)) >= 4)
        assert set(keys(listener.all(Inventory))) == {EXTRUDER, WINDER, LASER, UNROUTED}
        assert [reading.value for reading in listener.all(Reading, name="Profile")] == ["2.x"]
        assert requests_for(panel, "extruder_v2") == []
        assert panel.machine("laser_v1", 1).namespace is None
        polled = listener.all(Observation, machine=EXTRUDER)
        assert [one.channel for one in polled[:4]] == ["state", "live_values"] * 2
        assert all(one.requested_at is not None and one.source_time is None for one in polled)
        assert all(one.period == pytest.approx(1.0, abs=0.6) for one in polled)
        streamed = listener.all(Observation, machine=UNROUTED, channel="live_values")
        assert {one.period for one in streamed} == {1 / 30}
        assert {one.requested_at for one in streamed} == {None}


async def test_3x_is_streamed_and_no_machine_is_ever_asked() -> None:
    async with panel_of("3.0") as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            for key in (EXTRUDER, WINDER, LASER, UNROUTED):
                await listener.values_of(key)
        assert [reading.value for reading in listener.all(Reading, name="Profile")] == ["3.x"]
        assert requests_for(panel, "/api/v2/machine/") == []
        states = listener.all(Observation, machine=EXTRUDER, channel="state")
        assert {state.period for state in states} == {None}
        found = {machine.key: machine.identity for one in listener.all(Inventory) for machine in one.appeared}
        assert found[EXTRUDER] == {
            "vendor": 1,
            "machine": 4,
            "serial": 57922,
            "slug": "extruder_v1",
            "profile": "3.x",
        }


@BOTH
async def test_only_wanted_machines_are_read_and_the_set_may_grow(release: str) -> None:
    async with panel_of(release) as panel:
        listener, wanted = Listener(), {EXTRUDER, "1/9/7"}
        async with running(source_of(panel, wanted=wanted), listener):
            await listener.next(Observation, machine=EXTRUDER)
            missing = await listener.next(Condition, machine="1/9/7") if not listener.all(Condition) else None
            assert (missing or listener.all(Condition)[0]).status is StatusCode.BadDeviceFailure
            assert {one.machine for one in listener.all(Observation)} == {EXTRUDER}
            wanted.add(WINDER)
            await listener.next(Observation, machine=WINDER)


@pytest.mark.parametrize(("release", "channel"), [("2.17", "null"), ("3.0", "nan")])
async def test_value_that_is_none_is_passed_on_as_the_panel_sends_it(release: str, channel: str) -> None:
    async with panel_of(release) as panel:
        panel.faults.nan(*EXTRUDER_SLUG, "live_values.pressure")
        listener = Listener()
        async with running(source_of(panel), listener):
            seen = await listener.next(Observation, machine=EXTRUDER, channel="live_values")
        pressure = seen.payload["pressure"]
        assert pressure is None if channel == "null" else math.isnan(pressure)


@pytest.mark.parametrize(("release", "profile"), [("3.0", "2.x"), ("2.17", "3.x")])
async def test_wrongly_configured_profile_harms_no_panel(
    release: str, profile: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with panel_of(release) as panel:
        listener = Listener()
        async with running(source_of(panel, profile=profile), listener):
            for key in (EXTRUDER, WINDER, UNROUTED):
                await listener.values_of(key)
            assert panel.machine("laser_v1", 1).namespace is None
        assert f"profile {profile} is configured, but the panel" in caplog.text
        assert requests_for(panel, "/api/v2/machine/") == []
        assert listener.all(Condition, machine=LASER)[0].status is StatusCode.BadNotSupported


@BOTH
async def test_rightly_configured_profile_is_used(release: str, caplog: pytest.LogCaptureFixture) -> None:
    async with panel_of(release) as panel:
        listener = Listener()
        async with running(source_of(panel, profile=f"{release[0]}.x"), listener):
            for key in (EXTRUDER, LASER, UNROUTED):
                await listener.values_of(key)
        assert "is configured" not in caplog.text


# -- time


@pytest.mark.parametrize("offset", [0.0, 3600.0, -86400.0 * 365 * 20])
async def test_panel_with_a_wrong_clock_has_right_stamps(offset: float) -> None:
    async with panel_of("3.0") as panel:
        panel.faults.clock_offset(offset)
        listener = Listener()
        async with running(source_of(panel), listener):
            told = await listener.next(Reading, name="ClockOffset")
            await listener.until(lambda: len(listener.all(Observation, machine=EXTRUDER)) > 20)
        assert isinstance(told.value, float)
        assert told.value == pytest.approx(offset, abs=1.0)
        live = listener.all(Observation, machine=EXTRUDER, channel="live_values")
        times = [one.source_time for one in live if one.source_time is not None]
        assert len(times) > len(live) / 2
        assert all(earlier <= later for earlier, later in pairwise(times))
        assert all(time.microsecond % 1000 == 0 and time.utcoffset() == timedelta(0) for time in times)
        assert all(one.source_time is None or one.source_time <= one.received for one in live)
        assert all(one.source_time is None or one.received - one.source_time < timedelta(seconds=2) for one in live)


async def test_clock_that_jumps_is_followed() -> None:
    async with panel_of("3.0") as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await offset_near(listener, 0)
            panel.faults.clock_jump(7200)
            await offset_near(listener, 7200)
            panel.faults.clock_jump(-3600)
            await offset_near(listener, 3600)
            seen = await listener.next(Observation, machine=EXTRUDER, channel="live_values")
        assert seen.source_time is None or abs(seen.received - seen.source_time) < timedelta(seconds=2)


async def offset_near(listener: Listener, seconds: float) -> None:
    """Wait until the panel's clock is told to be so far ahead."""

    def is_told() -> bool:
        offsets = [one.value for one in listener.all(Reading, name="ClockOffset")]
        return any(isinstance(offset, float) and abs(offset - seconds) < 1 for offset in offsets)

    await listener.until(is_told)


# -- loss and return


@BOTH
async def test_start_with_the_panel_down_then_the_same_object_runs(release: str) -> None:
    async with panel_of(release) as panel:
        panel.faults.down()
        source, listener = source_of(panel), Listener()
        async with running(source, listener) as task:
            assert isinstance(await outcome(task), NotConnected)
        assert listener.said == []
        panel.faults.up()
        async with running(source, listener):
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")


@BOTH
@pytest.mark.parametrize("username", [None, "machine"])
async def test_panel_that_dies_is_not_connected_and_returns(release: str, username: str | None) -> None:
    """Without a user name there is no Caddy: connections are refused; with one it answers 502."""
    async with panel_of(release, username=username) as panel:
        source, listener = source_of(panel), Listener()
        async with running(source, listener) as task:
            await listener.next(Observation, machine=UNROUTED, channel="live_values")
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
            panel.faults.down()
            error = await outcome(task)
        assert isinstance(error, NotConnected)
        assert ("502" in str(error)) is (username is not None)
        panel.faults.up()
        async with running(source, listener):
            await listener.next(Observation, machine=EXTRUDER, channel="state")
        assert [one.vanished for one in listener.all(Inventory)] == [()] * len(listener.all(Inventory))


@BOTH
async def test_refused_password_is_an_auth_failure(release: str) -> None:
    async with panel_of(release, username="machine") as panel:
        source = source_of(panel, password="wrong")
        async with running(source, Listener()) as task:
            assert isinstance(await outcome(task), AuthFailed)


async def test_password_that_was_changed_is_an_auth_failure() -> None:
    async with panel_of("2.17", username="machine") as panel:
        listener = Listener()
        async with running(source_of(panel), listener) as task:
            await listener.next(Observation, machine=EXTRUDER)
            panel.faults.rotate_password()
            error = await outcome(task)
        assert isinstance(error, AuthFailed)
        assert str(panel.password) not in str(error)


@BOTH
async def test_tls_with_the_panels_own_root_is_verified(release: str) -> None:
    async with panel_of(release, username="machine", tls=True) as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=EXTRUDER)
            await listener.next(Observation, machine=UNROUTED)
        assert [one.value for one in listener.all(Reading, name="TlsVerified")] == [True]


async def test_panel_with_an_unknown_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with panel_of("2.17", username="machine", tls=True) as panel:
        async with running(source_of(panel, ca_file=None), Listener()) as task:
            error = await outcome(task)
        assert isinstance(error, NotConnected)
        assert "is not trusted" in str(error)
        source, listener = source_of(panel, ca_file=None, verify=False), Listener()
        for _ in range(2):
            async with running(source, listener):
                await listener.next(Observation, machine=EXTRUDER)
        assert {one.value for one in listener.all(Reading, name="TlsVerified")} == {False}
        assert sum("verify is false" in record.message for record in caplog.records) == 1


async def test_missing_ca_file_is_told(tmp_path: Path) -> None:
    async with panel_of("2.17", username="machine", tls=True) as panel:
        async with running(source_of(panel, ca_file=str(tmp_path / "root.crt")), Listener()) as task:
            error = await outcome(task)
        assert isinstance(error, NotConnected)
        assert "root.crt cannot be read" in str(error)


@pytest.mark.parametrize(("before", "after"), [("2.17", "3.0"), ("3.0", "2.17")])
async def test_panel_updated_in_place_is_read_in_its_new_way(before: str, after: str) -> None:
    """The restart takes 1 s here, 10 s by the source's clock, as systemd has it."""
    async with panel_of(before, username="machine") as panel:
        source, listener = source_of(panel, poll_period="10s"), Listener()
        async with running(source, listener) as task:
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
            await listener.next(Observation, machine=UNROUTED, channel="live_values")
            panel.release = Release.parse(after)
            panel.faults.restart(1.0)
            assert isinstance(await outcome(task), NotConnected)
        await until(lambda: panel.running)
        async with running(source, listener):
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
        profiles = [reading.value for reading in listener.all(Reading, name="Profile")]
        assert profiles == [f"{before[0]}.x", f"{after[0]}.x"]


# -- one machine


async def test_silenced_stream_is_joined_again() -> None:
    """At the pace of life: a computer that stands still for 200 ms would find every machine silent."""
    async with panel_of("3.0") as panel:
        listener = Listener()
        async with running(source_of(panel, speed=1.0), listener):
            await listener.next(Observation, machine=EXTRUDER, channel="state")
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
            panel.faults.silence(*EXTRUDER_SLUG)
            await listener.next(Condition, machine=EXTRUDER, channel="state")
            told = listener.all(Condition, machine=EXTRUDER)
            assert {one.channel for one in told} == {"state", "live_values"}
            assert {one.status for one in told} == {StatusCode.UncertainNoCommunicationLastUsableValue}
            assert "No values for 2 s" in told[0].reason
            await listener.next(Observation, machine=EXTRUDER, channel="state")
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
        assert {one.machine for one in listener.all(Condition)} == {EXTRUDER}


async def test_state_that_was_lost_is_asked_for_again() -> None:
    """3.x drops events when its queue of 64 is full; a state comes only to who joins."""
    async with panel_of("3.0", (MACHINES[0],)) as panel:
        panel.faults.drop_states(1)
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=EXTRUDER, channel="state")
        told = listener.all(Condition, machine=EXTRUDER, channel="state")
        assert [one.reason for one in told] == ["The panel did not send the machine's state"]


async def test_panel_that_stays_silent_is_not_hammered() -> None:
    """A laser's namespace was left on 2.x: nobody hears anything until a restart. Polled machines go on."""
    async with panel_of("2.17") as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=UNROUTED, channel="live_values")
            panel.faults.silence_all()
            joined = len(requests_for(panel, "/socket.io"))
            await listener.next(Condition, machine=UNROUTED)
            before = len(listener.all(Observation, machine=EXTRUDER))
            await listener.until(lambda: len(listener.all(Observation, machine=EXTRUDER)) >= before + 30)
            assert len(requests_for(panel, "/socket.io")) - joined <= 5
        assert len(listener.all(Condition, machine=UNROUTED)) == 2


@BOTH
async def test_machine_that_is_unplugged_vanishes_and_returns(release: str) -> None:
    async with panel_of(release) as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
            await asyncio.sleep(0.3)
            panel.faults.unplug(*EXTRUDER_SLUG)
            await listener.until(lambda: any(EXTRUDER in one.vanished for one in listener.all(Inventory)))
            told = listener.all(Condition, machine=EXTRUDER)[-1]
            assert told.status is StatusCode.BadDeviceFailure
            panel.faults.plug(*EXTRUDER_SLUG)
            await listener.next(Observation, machine=EXTRUDER, channel="state")
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
            await listener.next(Observation, machine=WINDER)
        assert keys(listener.all(Inventory)).count(EXTRUDER) == 2


@BOTH
async def test_machine_listed_with_an_error_says_so_in_the_vendors_words(release: str) -> None:
    async with panel_of(release) as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
            panel.faults.machine_error(*EXTRUDER_SLUG, "EL2002 not found at 0x3")
            await listener.until(
                lambda: bool(listener.all(Condition, machine=EXTRUDER, status=StatusCode.BadDeviceFailure))
            )
            (told,) = listener.all(Condition, machine=EXTRUDER, status=StatusCode.BadDeviceFailure, channel=None)
            assert "EL2002 not found at 0x3" in told.reason or "Unknown machine!" in told.reason
            await listener.until(lambda: any(m.error for one in listener.all(Inventory) for m in one.appeared))
            panel.faults.machine_error(*EXTRUDER_SLUG, None)
            await listener.next(Observation, machine=EXTRUDER, channel="live_values")
        assert not listener.all(Condition, machine=WINDER)


async def test_machine_that_does_not_answer_holds_no_other_up() -> None:
    async with panel_of("2.17") as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=WINDER)
            panel.faults.stall_queue("winder_v1", 57923)
            await asyncio.sleep(1.2)
            asked = len(requests_for(panel, "winder_v1"))
            for _ in range(5):
                await listener.next(Observation, machine=EXTRUDER)
            assert len(requests_for(panel, "winder_v1")) == asked
            panel.faults.stall_queue("winder_v1", 57923, stalled=False)
            await listener.next(Observation, machine=WINDER)


# -- the end


async def test_cancel_waits_for_the_answer_of_a_get() -> None:
    """Given up, it would crash the panel (facts 1, item 8)."""
    async with panel_of("2.17", (MACHINES[0],)) as panel:
        listener = Listener()
        async with running(source_of(panel), listener) as task:
            await listener.next(Observation, machine=EXTRUDER)
            panel.faults.stall_queue(*EXTRUDER_SLUG)
            asked = len(requests_for(panel, "extruder_v1"))
            await until(lambda: len(requests_for(panel, "extruder_v1")) > asked)
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
            panel.faults.stall_queue(*EXTRUDER_SLUG, stalled=False)
            await asyncio.wait({task}, timeout=30)
            assert task.cancelled()


@BOTH
async def test_cancel_is_prompt(release: str) -> None:
    async with panel_of(release) as panel:
        listener = Listener()
        source = source_of(panel)
        async with running(source, listener) as task:
            await listener.next(Observation, machine=UNROUTED)
            assert isinstance(source._clock, HurriedClock)
            source._clock.speed = 1e-6  # whatever it would still wait for, it would wait for long
            task.cancel()
            await asyncio.wait({task}, timeout=30)
            assert task.cancelled()


@BOTH
async def test_cancel_at_any_moment_harms_nothing(release: str) -> None:
    async with panel_of(release, username="machine", tls=True) as panel:
        source = source_of(panel)
        for wait in range(12):
            task = asyncio.create_task(source.run(Listener()))
            await asyncio.sleep(wait * 0.004)
            task.cancel()
            await asyncio.wait({task}, timeout=30)
            assert task.cancelled()


async def test_leaving_streams_is_told_because_the_panels_screen_stands_still(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with panel_of("3.0") as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=UNROUTED)
        assert [record.levelno for record in caplog.records if "screen may stand still" in record.message] == [
            logging.WARNING
        ]


@BOTH
async def test_normal_operation_is_silent(release: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with panel_of(release) as panel:
        listener = Listener()
        async with running(source_of(panel), listener):
            await listener.next(Observation, machine=UNROUTED)
            assert [record for record in caplog.records if record.name.startswith(("bridge.sources", "httpx"))] == []
