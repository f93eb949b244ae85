"""What TrackMyMachines answers, as its pages show it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.sources.trackmymachines.payloads import (
    Entry,
    moment,
    parse_events,
    parse_range,
    parse_step_events,
    parse_written,
)

FOLDER = Path(__file__).parents[2] / "recorded" / "trackmymachines"
TEN = 1_748_340_000_000
"""2025-05-27T10:00:00Z."""


def answer(name: str) -> bytes:
    return json.dumps(json.loads((FOLDER / f"{name}.json").read_text())["answer"]).encode()


def test_published_events_are_read() -> None:
    entries, oddities = parse_events(answer("events"))
    assert oddities == ()
    assert entries == (
        Entry("evt_8h3KdL2pQrxV", "step", "MACHINE_001", TEN, TEN + 5_400_000, "PART123"),
        Entry("evt_R7nT4mZ9wKbY", "activity_reason", "MACHINE_001", TEN + 5_400_000, None, "Tool change"),
    )


def test_published_sums_of_days_are_read() -> None:
    days, rows = parse_step_events(answer("step_events"))
    assert rows == ()
    assert [tuple(day) for day in days] == [("2025-05-20", "Machine1", 5, 3600), ("2025-05-21", "Machine1", 7, 4200)]


def test_published_rows_of_july_are_read() -> None:
    values = json.loads((FOLDER / "step_events_2025_07.json").read_text())["published"]
    days, rows = parse_step_events(json.dumps([values]).encode())
    assert days == ()
    assert rows[0].display_name == "1677723 Op10"
    assert rows[0].operation == "10"
    assert rows[0].start == moment("2025-06-18T09:00:00Z")
    assert (rows[0].end, rows[0].qty_expected, rows[0].work_order) == (None, 15.0, None)


def test_published_answers_to_writes_are_read() -> None:
    made = parse_written(answer("step_events_create"))
    assert (made.id, made.display_name, made.part, made.start, made.end) == (7785, "PART123 Op10", "PART123", TEN, None)
    finished = parse_written(answer("step_events_finish"))
    assert (finished.id, finished.start, finished.end) == (123, TEN, TEN + 3_600_000)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2025-05-27 10:00:00 UTC...", (TEN, None)),
        ("2025-05-27 10:00:00 UTC...Infinity", (TEN, None)),
        ("2025-05-27 10:00:00 UTC...2025-05-27 11:00:00 UTC", (TEN, TEN + 3_600_000)),
        ("2025-05-27T10:00:00Z..2025-05-27T11:00:00Z", (TEN, TEN + 3_600_000)),
        ("2025-05-27T12:00:00.000+02:00..", (TEN, None)),
        ("", (None, None)),
        (None, (None, None)),
        ("yesterday..tomorrow", (None, None)),
    ],
)
def test_ranges_are_read_in_every_published_form(written: str | None, read: tuple[int | None, int | None]) -> None:
    assert parse_range(written) == read


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"null", b'"x"', b'[{"id": 1}]', b"[1]"])
def test_what_is_no_list_of_events_is_a_broken_shape(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_events(body)


def test_one_event_that_cannot_be_read_is_told_and_the_others_are_kept() -> None:
    rows = json.loads(answer("events"))
    broken = [{**rows[0], "from": "yesterday"}, {**rows[0], "to": "2020-01-01T00:00:00Z"}, {**rows[0], "type": "mood"}]
    entries, oddities = parse_events(json.dumps([*rows, *broken]).encode())
    assert len(entries) == 2
    assert len(oddities) == 3


def test_machine_that_is_null_is_none() -> None:
    rows = [{**json.loads(answer("events"))[0], "machine_foreign_id": None}]
    ((entry,), _) = parse_events(json.dumps(rows).encode())
    assert entry.machine == ""


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "type", "from", "to", "data", "event", "tzrange", "started_at"]), inner)
), max_leaves=12))  # fmt: skip
def test_any_json_is_read_or_refused(tree: object) -> None:
    body = json.dumps(tree, allow_nan=True).encode()
    for parse in (parse_events, parse_step_events, parse_written):
        try:
            parse(body)
        except ProtocolError:
            continue
