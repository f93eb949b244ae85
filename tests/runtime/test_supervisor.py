"""The loop that runs a source: how long it waits, what it says, and what counts as a return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited
from bridge.model.connection import ConnectionState
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.ports import Publish
from bridge.runtime.supervisor import LONGEST_WAIT_S, REFUSED_WAIT_S, SourceRunner, back_off
from tests.runtime.test_plant_keeper import LIVE, House
from tests.sites import BASE, make_site


class Scripted:
    """A source whose runs end as the script says; an empty script serves for ever."""

    name = "panel"

    def __init__(self, *endings: Exception | None) -> None:
        self.endings = list(endings)
        self.runs = 0
        self.says: Callable[[Publish], None] = lambda publish: None

    async def run(self, publish: Publish) -> None:
        self.runs += 1
        self.says(publish)
        if not self.endings:
            await asyncio.Event().wait()
        ending = self.endings.pop(0)
        if ending is not None:
            raise ending


class Running:
    """A runner as a task, in a house with a virtual clock."""

    def __init__(self, folder: Path, *endings: Exception | None) -> None:
        self.house = House(folder)
        self.source = Scripted(*endings)
        self.runner = SourceRunner(self.source, self.house.keeper, self.house.clock)
        self.house.keeper.heard = lambda source: self.runner.heard() if source == "panel" else None

    async def __aenter__(self) -> Running:
        self.task = asyncio.create_task(self.runner.run())
        await self.house.clock.advance(0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def hear(self) -> None:
        self.house.observe("live_values", LIVE)


def test_back_off_is_jittered_between_one_and_thirty_seconds() -> None:
    ceilings = [back_off(attempt, lambda low, high: high) for attempt in range(12)]
    floors = [back_off(attempt, lambda low, high: low) for attempt in range(12)]
    assert ceilings[:6] == [1, 2, 4, 8, 16, 30]
    assert max(ceilings) == LONGEST_WAIT_S
    assert set(floors) == {1.0}


async def test_a_lost_source_is_run_again_on_the_same_object(tmp_path: Path) -> None:
    async with Running(tmp_path, NotConnected("refused"), NotConnected("refused")) as running:
        assert running.source.runs == 1
        await running.house.clock.advance(70)
        assert running.source.runs == 3
        assert running.runner.status.reconnects == 2


async def test_the_reason_reaches_the_tags(tmp_path: Path) -> None:
    async with Running(tmp_path, NotConnected("Connection refused by 127.0.0.1:3001")) as running:
        assert running.house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.BadNotConnected
        assert "refused" in running.house.read("mock-1.Connection.values.Reason").value  # type: ignore[operator]
        assert running.house.read("Bridge.Sources.panel.StateText").value == "Lost"
        assert running.house.read("Bridge.Sources.panel.Connected").value is False


async def test_refused_credentials_wait_a_minute(tmp_path: Path) -> None:
    async with Running(tmp_path, AuthFailed("401")) as running:
        assert running.runner.status.state is ConnectionState.Refused
        await running.house.clock.advance(REFUSED_WAIT_S - 1)
        assert running.source.runs == 1
        await running.house.clock.advance(2)
        assert running.source.runs == 2


async def test_a_rate_limit_waits_as_told(tmp_path: Path) -> None:
    async with Running(tmp_path, RateLimited("slow down", 100)) as running:
        await running.house.clock.advance(99)
        assert running.source.runs == 1
        assert "requests_per_minute" in running.runner.status.advice
        await running.house.clock.advance(2)
        assert running.source.runs == 2


@pytest.mark.parametrize("ending", [ProtocolError("no list"), ValueError("a bug"), None])
async def test_whatever_a_source_ends_with_is_contained(
    tmp_path: Path, ending: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with Running(tmp_path, ending) as running:
        await running.house.clock.advance(LONGEST_WAIT_S)
        assert running.source.runs == 2
        assert not running.task.done()


async def test_one_line_down_and_one_up_and_only_values_count_as_a_return(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="bridge")
    async with Running(tmp_path, *(NotConnected("refused") for _ in range(5))) as running:
        await running.house.clock.advance(300)
        assert running.source.runs == 6
        assert running.runner.status.state is ConnectionState.Lost
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        running.hear()
        running.hear()
        assert running.runner.status.state is ConnectionState.Connected
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        kinds = [event.kind for event in running.house.events]
        assert (kinds.count("SourceLost"), kinds.count("SourceReturned")) == (1, 1)


async def test_a_return_makes_the_next_wait_short_again(tmp_path: Path) -> None:
    async with Running(tmp_path, *(NotConnected("refused") for _ in range(200))) as running:
        await running.house.clock.advance(60)
        running.source.says = lambda publish: publish(
            Observation("panel", "1/7/1", "live_values", LIVE, running.house.clock.now())
        )
        await running.house.clock.advance(LONGEST_WAIT_S)
        before = running.source.runs
        await running.house.clock.advance(1.01)
        assert running.source.runs > before


async def test_a_source_that_fails_while_it_is_cancelled_is_not_run_again(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:

        async def fails(publish: Publish) -> None:
            running.source.runs += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise NotConnected("the connection broke") from None

        running.source.run = fails  # type: ignore[method-assign]
        running.task.cancel()
        await asyncio.wait({running.task})
        running.task = asyncio.create_task(running.runner.run())
        await running.house.clock.advance(0)
        runs = running.source.runs
        running.task.cancel()
        await asyncio.wait({running.task}, timeout=30)
        assert running.task.cancelled()
        await running.house.clock.advance(60)
        assert running.source.runs == runs


async def test_a_source_that_is_slowed_stays_connected_and_its_values_age_by_themselves(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        house, runner = running.house, running.runner
        house.keeper.slowed = runner.slowed

        def slow(reason: str, advice: str) -> None:
            house.keeper.publish(Condition("panel", StatusCode.Good, reason, house.clock.now(), advice=advice))

        slow("Slowed: 429", "Ask less")
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Waiting, "Slowed: 429")
        running.hear()
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Connected, "Slowed: 429")
        assert house.read("Bridge.Sources.panel.Connected").value is True
        assert house.read("Bridge.Sources.panel.Advice").value == "Ask less"
        assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.Good
        await house.wait(3)
        assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.UncertainLastUsableValue
        assert house.read("mock-1.Connection.values.Advice").value == "Ask less"
        assert not [event for event in house.events if event.kind in ("SourceLost", "MachineLost")]
        slow("", "")
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Connected, "")


async def test_a_way_that_is_lost_while_values_flow_by_another_is_the_state_of_the_source(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        house, runner = running.house, running.runner
        house.keeper.slowed, house.keeper.way = runner.slowed, runner.way

        def way(reason: str, advice: str = "") -> None:
            now = house.clock.now()
            house.keeper.publish(
                Condition("panel", StatusCode.BadConfigurationError, reason, now, advice=advice, way="REST")
            )

        house.keeper.publish(Condition("panel", StatusCode.Good, "Slowed: 429", house.clock.now(), advice="Ask less"))
        way("By REST: 401", "Look at the password")
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Waiting, "By REST: 401")
        running.hear()
        assert house.read("Bridge.Sources.panel.StateText").value == "Degraded"
        assert house.read("Bridge.Sources.panel.Reason").value == "By REST: 401"
        assert house.read("Bridge.Sources.panel.Advice").value == "Look at the password"
        assert house.read("Bridge.Sources.panel.Connected").value is True
        assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.Good
        way("By REST: 401, again", "Look at the password")
        way("")
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Connected, "Slowed: 429")
        house.keeper.publish(Condition("panel", StatusCode.Good, "", house.clock.now()))
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Connected, "")
        kinds = [event.kind for event in house.events]
        assert (kinds.count("SourceLost"), kinds.count("SourceReturned")) == (1, 1)


async def test_what_is_lost_wholly_is_not_lost_in_part_afterwards(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        house, runner = running.house, running.runner
        house.keeper.way = runner.way
        running.source.endings = [NotConnected("Both are gone")]
        lost = Condition("panel", StatusCode.BadNoData, "By REST: 401", house.clock.now(), way="REST")
        running.source.says = lambda publish: publish(lost) if running.source.runs == 2 else None
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        running.task = asyncio.create_task(runner.run())
        await house.clock.advance(0)
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Lost, "Both are gone")
        await house.clock.advance(LONGEST_WAIT_S)
        running.hear()
        assert (runner.status.state, runner.status.reason) == (ConnectionState.Connected, "")


async def test_what_a_source_told_of_itself_is_uncertain_while_it_is_not_served(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        house = running.house
        running.source.endings = [AuthFailed("401")]
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        running.source.says = lambda publish: publish(Reading("panel", "Profile", "3.x", house.clock.now()))
        running.task = asyncio.create_task(running.runner.run())
        await house.clock.advance(0)
        told = house.read("Bridge.Sources.panel.Profile")
        assert (told.value, told.status, told.reason) == ("3.x", StatusCode.UncertainLastUsableValue, "401")
        assert house.read("Bridge.Sources.panel.StateText").status is StatusCode.Good
        await house.clock.advance(REFUSED_WAIT_S + 1)
        assert house.read("Bridge.Sources.panel.Profile").status is StatusCode.Good


async def test_a_reading_without_a_value_says_why(tmp_path: Path) -> None:
    house = House(tmp_path)
    name = "Bridge.Sources.panel.Profile"
    assert house.read(name).reason == "The source has not told it"
    house.keeper.publish(Reading("panel", "Profile", None, house.clock.now(), {"reason": "It is not configured"}))
    assert (house.read(name).status, house.read(name).reason) == (StatusCode.BadNoData, "It is not configured")


async def test_a_source_whose_machines_wait_for_adoption_says_so(tmp_path: Path) -> None:
    async with Running(tmp_path, NotConnected("refused")) as running:
        keeper = running.house.keeper
        keeper.idle = lambda source, waiting: running.runner.idle(waiting) if source == "panel" else None
        found = FoundMachine("1/7/9", {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"})
        keeper.publish(Inventory("panel", appeared=(found,)))
        assert running.runner.status.state is ConnectionState.Lost  # mock-1 is in the plant: values are waited for
        keeper.site = make_site(tmp_path, BASE.partition("machines:")[0] + "discovery: adopt\n")
        keeper.rebuild()
        keeper.publish(Inventory("panel", appeared=(found,)))
        status = running.runner.status
        assert status.state is ConnectionState.Waiting
        assert status.reason == "It answers, and none of its machines is in the plant; waiting for adoption: 1"
        assert "Setup" in status.advice
        assert running.house.read("Bridge.Sources.panel.Reason").value == status.reason
        assert running.house.read("Bridge.Sources.panel.StateText").value == "Waiting"
        keeper.adopt(("panel", "1/7/9"), "eva")
        running.house.observe("live_values", LIVE, "1/7/9")
        assert (status.state, status.reason, status.advice) == (ConnectionState.Connected, "", "")


async def test_a_source_without_any_machine_says_so(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        running.runner.idle(0)
        assert running.runner.status.reason == "It answers, and shows no machine that a mapping matches"
        assert "discover panel" in running.runner.status.advice
