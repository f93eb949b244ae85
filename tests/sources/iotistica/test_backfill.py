from __future__ import annotations

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
        rest.fill([Lapse(AGENT, "m1", begun - 1, begun + 150_000)])
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
        rest.fill([Lapse(AGENT, "m1", 0, NOON), Lapse(AGENT, "ns=2;s=x", NOON - 10_000, NOON)])
        await at.until(lambda: not len(rest.backfilled))
    assert [row["value"] for row in filled(at)] == [3, 2, 1]
    assert rest.backfilled.dropped == 1
    assert not at.cloud.asked("ns=2")


async def test_devices_of_one_metric_are_filled_together() -> None:
    at = At()
    rest = at.rest()
    rest.fill([Lapse(AGENT, "m1", NOON - 9000, NOON - 3000), Lapse(AGENT, "m1", NOON - 5000, NOON)])
    assert list(rest.backfilled._queue) == [Lapse(AGENT, "m1", NOON - 9000, NOON)]


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
        rest.fill([Lapse(AGENT, "m1", NOON - 9000, NOON)])
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


def test_the_first_sample_after_a_loss_ends_a_lapse_of_that_metric() -> None:
    lapses = Lapses()
    assert not lapses.hear(_observed([_row("a", 0), _row("a", 1, "dev-2"), _row("b", 2)]))
    assert not lapses.hear(_observed([_row("a", 5)]))
    lapses.lost()
    assert not lapses.hear(_observed([_row("a", 3)]))  # a replay of before
    assert not lapses.hear(_observed([_row("a", 50)], historical=True))
    assert not lapses.hear(_observed([_row("new", 60)]))
    assert lapses.hear(_observed([_row("a", 90), _row("b", 91)])) == [
        Lapse(AGENT, "a", NOON + 5000, NOON + 90_000),
        Lapse(AGENT, "b", NOON + 2000, NOON + 91_000),
    ]
    assert not lapses.hear(_observed([_row("a", 95)]))
    assert lapses.hear(_observed([_row("a", 99, "dev-2")])) == [Lapse(AGENT, "a", NOON + 1000, NOON + 99_000)]


@pytest.mark.parametrize("moment", [0, 1, 999, 1_773_133_200_123])
def test_times_are_exact_to_the_millisecond(moment: int) -> None:
    assert datetime.fromisoformat(iso(moment)) == datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment)
    assert milliseconds(iso(moment)) == moment
