"""The format: what is written is read again, and what is damaged is said so."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources.replay.plain import packed, unpacked
from bridge.sources.replay.record import (
    MAX_LINE,
    End,
    Entry,
    Gap,
    Header,
    RecordedPart,
    end_line,
    gap_line,
    header_line,
    item_line,
    read_header,
    read_line,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # halves of surrogate pairs as well
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5, minutes=-30))]))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**63) - 2, 2**64 + 2)
    | st.floats(allow_nan=True)
    | ANY_TEXT
    | st.binary(max_size=20)
    | TIMES
)
KEYS = ANY_TEXT | st.sampled_from(["$float", "$dict", "$", ""]) | st.integers() | st.none()
PAYLOADS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=True) | ANY_TEXT
IDENTITY = st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers(), max_size=3)
MONOTONIC = st.none() | st.floats(-1e6, 1e6)

ITEMS = st.one_of(
    st.builds(
        Observation,
        st.just("panel"),
        ANY_TEXT,
        ANY_TEXT,
        PAYLOADS,
        TIMES,
        st.none() | TIMES,
        MONOTONIC,
        st.none() | st.floats(0, 1e6),
        st.booleans(),
    ),
    st.builds(
        Condition,
        st.just("panel"),
        st.sampled_from(list(StatusCode)),
        ANY_TEXT,
        TIMES,
        st.none() | ANY_TEXT,
        st.none() | ANY_TEXT,
        ANY_TEXT,
        ANY_TEXT,
    ),
    st.builds(
        Inventory,
        st.just("panel"),
        st.lists(st.builds(FoundMachine, ANY_TEXT, IDENTITY, st.none() | ANY_TEXT), max_size=3).map(tuple),
        st.lists(ANY_TEXT, max_size=3).map(tuple),
    ),
    st.builds(
        Event,
        ANY_TEXT,
        ANY_TEXT,
        TIMES,
        ANY_TEXT,
        st.integers(1, 1000),
        st.just("panel"),
        ANY_TEXT,
        st.dictionaries(ANY_TEXT, SCALARS, max_size=3),
    ),
    st.builds(
        Reading,
        st.just("panel"),
        ANY_TEXT,
        SCALARS | TIMES,
        TIMES,
        st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    ),
)


def same(one: Any, other: Any) -> bool:
    """Equal in type as in value; NaN is itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    return bool(one == other)


@given(PAYLOADS)
def test_every_payload_comes_back_as_it_was(payload: Any) -> None:
    assert same(unpacked(orjson.loads(orjson.dumps(packed(payload)))), payload)


@given(ITEMS, st.floats(0, 1e6))
def test_every_item_comes_back_as_it_was(item: Any, at: float) -> None:
    line = item_line(at, item)
    entry = read_line(line)
    assert line.count(b"\n") == 1
    assert isinstance(entry, Entry)
    assert entry.at == round(at, 6)
    assert same(entry.item, item), (entry.item, item)


def test_moments_of_asking_are_on_the_axis_of_the_recording() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    entry = read_line(item_line(2.0, Observation("panel", "m", "state", None, now, None, 1001.5), zero=1000.0))
    assert isinstance(entry, Entry)
    assert isinstance(entry.item, Observation)
    assert entry.item.requested_at == 1.5


def test_header_gap_and_end_come_back() -> None:
    part = RecordedPart("extruder-1", "values", "panel", "1/4/7", "qitech/extruder", {"vendor": 1, "slug": "x"}, "Job")
    header = Header(
        datetime(2026, 1, 1, tzinfo=UTC), "0.1", "abc", {"panel": "qitech"}, (part,), "Europe/Berlin", "all"
    )
    assert read_header(header_line(header)) == header
    assert read_line(gap_line(1.0, 7, "slow")) == Gap(1.0, 7, "slow")
    assert read_line(end_line(2.0, 9, 7, "over")) == End(2.0, 9, 7, "over")


def test_what_is_too_long_or_too_deep_or_unknown_is_a_gap_or_a_mark_never_an_error() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    long = item_line(0.0, Observation("panel", "m", "state", "x" * MAX_LINE, now))
    assert len(long) < 500
    assert isinstance(read_line(long), Gap)
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for odd in (deep, {"a": object()}, 10**6000):
        assert isinstance(read_line(item_line(0.0, Observation("panel", "m", "state", odd, now))), Entry)


@given(st.binary(max_size=200))
def test_noise_is_refused_with_words(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_line(noise)


GOOD = orjson.loads(item_line(0.0, Observation("panel", "m", "state", {"a": 1}, datetime(2026, 1, 1, tzinfo=UTC))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t": "soon"}, "t: expected seconds"),
        ({"t": 1e300}, "t: expected seconds"),
        ({"received": "yesterday"}, "received: expected a time"),
        ({"received": "2026-01-01T00:00:00"}, "offset from UTC"),
        ({"machine": 7}, "machine: expected a text"),
        ({"payload": {"$float": "1"}}, "nan, inf"),
        ({"payload": {"$what": 1}}, "no mark"),
        ({"payload": {"$dict": [[[], 1]]}}, "does not hold"),
        ({"historical": 1}, "true or false"),
    ],
)
def test_what_is_wrong_in_a_line_is_named(change: dict[str, Any], words: str) -> None:
    line = {"observation": {**GOOD["observation"], **change}, "t": change.get("t", 0.0)}
    with pytest.raises(ValueError, match=words):
        read_line(orjson.dumps(line))


@pytest.mark.parametrize(
    ("line", "words"),
    [(b"{}", "no record"), (b'{"plantbridge-record": 2}', "format 2"), (b'{"plantbridge-record": 1}', "missing")],
)
def test_a_header_that_is_none_is_said_so(line: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_header(line)
