"""Payloads: what TrackMyMachines answers, parsed. Pure. Sources: its events and step events pages; facts 2.2.

Fields that are missing are None or left out, fields we do not know are passed over; what has not even the outline of
the documented shape raises ProtocolError. Times are milliseconds since 1970. Nothing about people is taken over.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from bridge.errors import ProtocolError

CYCLE: Final = "cycle"
STEP: Final = "step"
PART_COUNT: Final = "part_count"
SHIFT_PERIOD: Final = "shift_period"
ACTIVITY_REASON: Final = "activity_reason"
WORK_ORDER_OPERATION: Final = "work_order_operation"
TYPES: Final = (CYCLE, STEP, PART_COUNT, SHIFT_PERIOD, ACTIVITY_REASON, WORK_ORDER_OPERATION)

LATEST: Final = 4_102_444_800_000
"""Milliseconds of 2100: a time after it is none."""

TEXT: Final = 200
SHOWN: Final = 120

_RANGE = re.compile(r"(.*?)\.\.\.?(.*)", re.DOTALL)
_RUBY = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_OPERATION = re.compile(r"(.*) Op(\S+)", re.DOTALL)


class Entry(NamedTuple):
    """One event of the timeline. `end` is None while it is in flight; `machine` is "" where it has no foreign id."""

    id: str
    type: str
    machine: str
    start: int
    end: int | None
    label: str


class StepRow(NamedTuple):
    """One step event of GET /step_events, edition 2025-07. Seconds, and None for what is not told."""

    id: int | None
    machine_id: int | None
    machine_name: str
    start: int
    end: int | None
    display_name: str
    cycles: float | None
    parts: float | None
    cycle_time: float | None
    median_cycle_time: float | None
    load_time: float | None
    dead_time: float | None
    work_order: str | None
    qty_expected: float | None
    qty_made: float | None
    qty_scrapped: float | None

    @property
    def operation(self) -> str | None:
        """The step's number: "10" of "PART123 Op10"."""
        found = _OPERATION.fullmatch(self.display_name)
        return found[2] if found else None


class DayRow(NamedTuple):
    """One machine's day of GET /step_events, edition 2025-05; the unit of `cycle_time` is not documented."""

    date: str
    machine_name: str
    events: float | None
    cycle_time: float | None


class Written(NamedTuple):
    """The step event that a write made or finished, as the answer tells it; None or "" for what it does not."""

    id: int | None
    display_name: str
    machine_name: str
    part: str
    start: int | None
    end: int | None


def parse_events(body: bytes) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """GET /events: a bare array. Gives the events, and in words what could not be read as one."""
    rows = _json(body)
    if not isinstance(rows, list):
        raise ProtocolError(f"TrackMyMachines answered no list of events: {shown(body)}")
    entries, oddities = [], []
    for row in rows:
        entry = _entry(row)
        if isinstance(entry, str):
            oddities.append(entry)
        else:
            entries.append(entry)
    if oddities and not entries:
        raise ProtocolError(f"TrackMyMachines' events are not what its page shows: {oddities[0]}")
    return tuple(entries), tuple(oddities)


def _entry(row: Any) -> Entry | str:
    if not isinstance(row, dict):
        return f"an event is no object: {shown(row)}"
    identifier, kind, start = text(row.get("id")), row.get("type"), moment(row.get("from"))
    if not identifier or not isinstance(kind, str) or start is None:
        return f"an event has no id, type or from: {shown(row)}"
    if kind not in TYPES:
        return f"the event {identifier} is of the unknown type {kind[:40]}"
    end = moment(row.get("to"))
    if row.get("to") is not None and (end is None or end < start):
        return f"the event {identifier} has no time after its from in its to: {shown(row)}"
    return Entry(identifier, kind, text(row.get("machine_foreign_id")), start, end, text(row.get("label")))


def parse_step_events(body: bytes) -> tuple[tuple[DayRow, ...], tuple[StepRow, ...]]:
    """GET /step_events of either edition: sums of days under "data", or a bare array of step events."""
    answer = _json(body)
    if isinstance(answer, list):
        return (), tuple(row for each in answer if (row := _step_row(each)) is not None)
    days = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(days, list):
        raise ProtocolError(f"TrackMyMachines answered no step events: {shown(body)}")
    return tuple(day for each in days if (day := _day_row(each)) is not None), ()


def _day_row(row: Any) -> DayRow | None:
    if not isinstance(row, dict) or not text(row.get("date")) or not text(row.get("machine")):
        return None
    return DayRow(
        text(row["date"]), text(row["machine"]), number(row.get("events_count")), number(row.get("total_cycle_time"))
    )


def _step_row(row: Any) -> StepRow | None:
    if not isinstance(row, dict):
        return None
    start, end = moment(row.get("started_at")), moment(row.get("ended_at"))
    if start is None:
        start, end = parse_range(row.get("tzrange"))
    if start is None:
        return None
    metadata = row.get("metadata")
    told = metadata if isinstance(metadata, dict) else {}
    return StepRow(
        id=whole(row.get("id")),
        machine_id=whole(row.get("machine_id")),
        machine_name=text(row.get("machine_name")),
        start=start,
        end=end,
        display_name=text(row.get("display_name")),
        cycles=number(row.get("cycle_count")),
        parts=number(row.get("part_count")),
        cycle_time=number(row.get("total_in_cycle_time")),
        median_cycle_time=number(row.get("median_cycle_time")),
        load_time=number(row.get("load_time")),
        dead_time=number(row.get("total_dead_time")),
        work_order=_first_text(told, "wo_number", "work_order_id"),
        qty_expected=_first_number(told, "qty_expected", "quantity_expected"),
        qty_made=_first_number(told, "quantity_made", "qty_made"),
        qty_scrapped=_first_number(told, "quantity_scrapped", "qty_scrapped"),
    )


def _first_text(told: dict[str, Any], *names: str) -> str | None:
    return next((found for name in names if (found := text(told.get(name)))), None)


def _first_number(told: dict[str, Any], *names: str) -> float | None:
    return next((found for name in names if (found := number(told.get(name))) is not None), None)


def parse_written(body: bytes) -> Written:
    """The answer to POST step_events or PATCH step_events/finish: {"event": {…}, "part": {…}?}."""
    answer = _json(body)
    event = answer.get("event") if isinstance(answer, dict) else None
    if not isinstance(event, dict):
        raise ProtocolError(f"TrackMyMachines answered without the step event: {shown(body)}")
    part = answer.get("part")
    start, end = parse_range(event.get("tzrange") or event.get("range"))
    return Written(
        whole(event.get("id")),
        text(event.get("display_name")),
        text(event.get("machine_name")),
        text(part.get("unique_identifier")) if isinstance(part, dict) else "",
        start,
        end,
    )


def parse_range(written: Any) -> tuple[int | None, int | None]:
    """Start and end of "2025-05-27 10:00:00 UTC...", "….…Infinity" or "2025-05-27T10:00:00Z..2025-05-27T11:00:00Z"."""
    found = _RANGE.fullmatch(written) if isinstance(written, str) else None
    return (None, None) if found is None else (moment(found[1].strip()), moment(found[2].strip()))


def moment(written: Any) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 text or Ruby's "2025-05-27 10:00:00 UTC"; None for what is neither."""
    if not isinstance(written, str):
        return None
    ruby = _RUBY.fullmatch(written)
    try:
        read = datetime.fromisoformat(f"{ruby[1]}T{ruby[2]}Z" if ruby else written)
        zoned = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
        found = round(zoned.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found <= LATEST else None


def iso(milliseconds: int) -> str:
    """UTC with Z and whole seconds, as the vendor's examples are."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(value: Any) -> str:
    """A text, also of a number; "" for anything else."""
    return str(value).strip()[:TEXT] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def number(value: Any) -> float | None:
    """A number, also where it is written as a text ("15")."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def whole(value: Any) -> int | None:
    """A whole number such as an internal id."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def shown(strange: Any) -> str:
    """The beginning of what nobody expected."""
    words = strange.decode("utf-8", "replace") if isinstance(strange, bytes) else repr(strange)
    return words[:SHOWN]


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"TrackMyMachines' answer is not JSON: {shown(body)}") from error
