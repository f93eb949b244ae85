from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from bridge.model.observation import Observation
from bridge.sources.iotistica.lapses import Lapses
from bridge.sources.iotistica.rest import backfill
from bridge.sources.iotistica.rest.backfill import Lapse
from bridge.sources.iotistica.rest.rows import iso, milliseconds
from tests.sources.iotistica.cloud import AGENT, START, At, Cloud, reading

NOON = round(START.timestamp() * 1000)


def filled(at: At) -> list[dict[str, Any]]:
    """What was told as historical, in order."""
    told = [one for one in at.heard.of(Observation) if one.historical]
    assert all(one.channel == "readings" for one in told)
    return [row for one in told for row in one.payload]


async def test_what_mqtt_missed_is_read_page_by_page_without_loss_or_repetition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backfill, "LONGEST", 50)
    at = At()
    begun = NOON - 3_600_000
    at.cloud.readings = [
        reading("m1", number, iso(begun + number // 2 * 1000), device=f"dev-{number % 2}") for number in range(400)
    ]
    at.cloud.readings.append(reading("m1", 99, iso(begun + 500), extra={"source": "anomaly_event"}))
    rest = at.rest()
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        rest.fill([Lapse(AGENT, f"dev-{number}", "m1", begun - 1, begun + 150_000) for number in range(2)])
        await at.until(lambda: not len(rest.backfilled))
    rows = filled(at)
    assert len(rows) == 300
    assert {(row["device_uuid"], row["time"], row["value"]) for row in rows} == {
        (f"dev-{number % 2}", iso(begun + number // 2 * 1000), number) for number in range(300)
    }
    assert rest.backfilled.rows == 300
    assert all(row["unit"] == "bar" and row["quality"] == "good" for row in rows)


async def test_nothing_older_than_allowed_and_no_name_that_cannot_be_asked_for() -> None:
    at = At()
    at.cloud.readings = [reading("m1", hours, iso(NOON - hours * 3_600_000)) for hours in range(1, 10)]
    rest = at.rest(max_backfill="4h")
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        rest.fill([Lapse(AGENT, "dev-1", "m1", 0, NOON), Lapse(AGENT, "dev-1", "ns=2;s=x", NOON - 10_000, NOON)])
        await at.until(lambda: not len(rest.backfilled))
    assert [row["value"] for row in filled(at)] == [3, 2, 1]
    assert rest.backfilled.dropped == 1
    assert not at.cloud.asked("ns=2")


async def test_devices_of_one_metric_are_filled_together_each_in_its_own_window() -> None:
    at = At()
    at.cloud.readings = [
        reading("m1", second, iso(NOON - second * 1000), device=device)
        for second in range(10)
        for device in ("dev-1", "dev-2", "dev-3")
    ]
    rest = at.rest()
    rest.fill([Lapse(AGENT, "dev-1", "m1", NOON - 9000, NOON - 6000)])
    rest.fill([Lapse(AGENT, "dev-2", "m1", NOON - 5000, NOON - 2000)])
    assert len(rest.backfilled) == 1
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        await at.until(lambda: not len(rest.backfilled))
    told = [(row["device_uuid"], row["value"]) for row in filled(at)]
    assert told == [("dev-1", 8), ("dev-1", 7), ("dev-2", 4), ("dev-2", 3)], "nobody's live values a second time"
    assert len(at.cloud.asked("timeseries")) == 1


async def test_what_was_heard_between_two_lapses_is_not_told_again() -> None:
    at = At()
    at.cloud.readings = [reading("m1", second, iso(NOON - second * 1000)) for second in range(10)]
    rest = at.rest()
    rest.fill([Lapse(AGENT, "dev-1", "m1", NOON - 9000, NOON - 7000)])
    rest.fill([Lapse(AGENT, "dev-1", "m1", NOON - 3000, NOON - 1000)])
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        await at.until(lambda: not len(rest.backfilled))
    assert [row["value"] for row in filled(at)] == [8, 2]


async def test_what_the_cloud_does_not_keep_is_no_null_in_the_history() -> None:
    """Of true, false and texts it has null and calls that good (recorded: readings_timeseries_boolean)."""
    at = At()
    at.cloud.readings = [
        reading("running", None, iso(NOON - 3000)),
        reading("running", None, iso(NOON - 2000), quality="bad"),
    ]
    rest = at.rest()
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        rest.fill([Lapse(AGENT, "dev-1", "running", NOON - 9000, NOON)])
        await at.until(lambda: not len(rest.backfilled))
    assert [row["quality"] for row in filled(at)] == ["bad"]


async def test_pages_that_were_told_are_not_told_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "LONGEST", 10)
    at = At()
    at.cloud.readings = [reading("m1", second, iso(NOON - second * 1000)) for second in range(1, 31)]
    rest = at.rest()
    answers: list[bool] = []

    def fail(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        if "timeseries" not in request.url.path:
            return None
        answers.append(True)
        return cloud.reply(500, {"error": "x"}) if len(answers) == 2 else None

    at.cloud.hooks.append(fail)
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        rest.fill([Lapse(AGENT, "dev-1", "m1", NOON - 60_000, NOON)])
        await at.until(lambda: not len(rest.backfilled))
    assert sorted(row["value"] for row in filled(at)) == list(range(1, 31))


async def test_pages_that_were_told_are_not_told_again_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "LONGEST", 10)
    at = At()
    at.cloud.readings = [reading("m1", second, iso(NOON - second * 1000)) for second in range(1, 31)]
    rest = at.rest()
    answers: list[bool] = []

    def fail(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        if "timeseries" not in request.url.path:
            return None
        answers.append(True)
        return cloud.reply(500, {"error": "x"}) if len(answers) > 1 else None

    at.cloud.hooks.append(fail)
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        rest.fill([Lapse(AGENT, "dev-1", "m1", NOON - 60_000, NOON)])
        await at.until(lambda: len(answers) > 1)
    assert len(filled(at)) == 10
    at.cloud.hooks.clear()
    another = at.rest()
    another.backfilled.recall(json.loads(json.dumps(rest.backfilled.document())))
    async with at.running(another):
        await at.until(lambda: another.is_connected and not len(another.backfilled))
    assert sorted(row["value"] for row in filled(at)) == list(range(1, 31))


async def test_a_fill_goes_on_where_the_connection_comes_back() -> None:
    at = At()
    at.cloud.readings = [reading("m1", 1, iso(NOON - 5000))]
    rest = at.rest()
    fails = [True]

    def fail(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        return cloud.reply(500, {"error": "x"}) if fails and "timeseries" in request.url.path else None

    at.cloud.hooks.append(fail)
    async with at.running(rest) as run:
        await at.until(lambda: rest.is_connected)
        rest.fill([Lapse(AGENT, "dev-1", "m1", NOON - 9000, NOON)])
        await at.until(run.done)
        assert run.exception() is not None
    fails.clear()
    async with at.running(rest):
        await at.until(lambda: filled(at))
    assert [row["value"] for row in filled(at)] == [1]


def _observed(rows: list[dict[str, Any]], **more: Any) -> Observation:
    return Observation("i", AGENT, "readings", rows, START, **more)


def _row(metric: str, seconds: float, device: str = "dev-1") -> dict[str, Any]:
    return {"metric": metric, "device_uuid": device, "time": (START + timedelta(seconds=seconds)).isoformat()}


def test_the_first_sample_after_a_loss_ends_a_lapse_of_that_metric_of_its_device() -> None:
    lapses = Lapses()
    assert not lapses.hear(_observed([_row("a", 0), _row("a", 1, "dev-2"), _row("b", 2)]))
    assert not lapses.hear(_observed([_row("a", 5)]))
    lapses.lost()
    assert not lapses.hear(_observed([_row("a", 3)]))  # a replay of before
    assert not lapses.hear(_observed([_row("a", 50)], historical=True))
    assert not lapses.hear(_observed([_row("new", 60)]))
    assert lapses.hear(_observed([_row("a", 90), _row("b", 91)])) == [
        Lapse(AGENT, "dev-1", "a", NOON + 5000, NOON + 90_000),
        Lapse(AGENT, "dev-1", "b", NOON + 2000, NOON + 91_000),
    ]
    assert not lapses.hear(_observed([_row("a", 95)]))
    assert lapses.hear(_observed([_row("a", 99, "dev-2")])) == [Lapse(AGENT, "dev-2", "a", NOON + 1000, NOON + 99_000)]


@pytest.mark.parametrize("moment", [0, 1, 999, 1_773_133_200_123])
def test_times_are_exact_to_the_millisecond(moment: int) -> None:
    assert datetime.fromisoformat(iso(moment)) == datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment)
    assert milliseconds(iso(moment)) == moment
