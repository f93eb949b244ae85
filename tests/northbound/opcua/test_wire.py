"""Bytes of our own making are those asyncua would have made."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.stack import wire
from bridge.northbound.opcua.stack.values import Mirror, PlainValue
from tests.one_of_everything import NOW, VALUES

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=2))])
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES) | st.sampled_from(
    [
        datetime(1601, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 58, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ]
)
TEXTS = st.text("aZ 0\0é€😀\ud800", max_size=20)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(-5, 5),
    st.floats(),
    st.integers(-(2**40), 2**40).map(float),
    TEXTS,
    MOMENTS,
    st.just(datetime(2026, 1, 1)),
)
FITTING = {
    DataType.Boolean: st.booleans(),
    DataType.Int32: st.integers(-(2**31), 2**31 - 1),
    DataType.UInt32: st.integers(0, 2**32 - 1),
    DataType.Int64: st.integers(-(2**63), 2**63 - 1),
    DataType.Double: st.floats(allow_nan=False, allow_infinity=False),
    DataType.String: TEXTS,
    DataType.DateTime: MOMENTS,
}


@st.composite
def typed(draw: st.DrawFn) -> tuple[DataType, DataValue]:
    """A type, and a value that mostly fits it."""
    data_type = draw(st.sampled_from(DataType))
    value = draw(FITTING[data_type] | ANYTHING)
    return data_type, DataValue(value, draw(st.sampled_from(StatusCode)), draw(MOMENTS), draw(MOMENTS))


@given(typed())
def test_value_has_the_bytes_asyncua_makes(case: tuple[DataType, DataValue]) -> None:
    data_type, now = case
    made = PlainValue(now, data_type)
    assert made.wire == struct_to_binary(convert.data_value(now, data_type))
    assert made.wire == struct_to_binary(made.value)


@given(typed(), st.sampled_from(ua.TimestampsToReturn))
def test_wanted_times_are_cut_out(case: tuple[DataType, DataValue], wanted: ua.TimestampsToReturn) -> None:
    data_type, now = case
    value = convert.data_value(now, data_type)
    expected = struct_to_binary(wire.restamped(value, wanted))
    assert wire.stamped(struct_to_binary(value), wanted) == expected
    decoded = struct_from_binary(ua.DataValue, Buffer(expected))
    assert (decoded.SourceTimestamp is not None) == (
        wanted in (ua.TimestampsToReturn.Source, ua.TimestampsToReturn.Both)
    )
    assert (decoded.ServerTimestamp is not None) == (
        wanted in (ua.TimestampsToReturn.Server, ua.TimestampsToReturn.Both)
    )


@given(typed())
def test_overflow_is_a_bit_of_the_status(case: tuple[DataType, DataValue]) -> None:
    data_type, now = case
    value = convert.data_value(now, data_type)
    assert value.StatusCode is not None
    marked = ua.DataValue(
        value.Value, ua.StatusCode(value.StatusCode.value | 0x480), value.SourceTimestamp, value.ServerTimestamp
    )
    assert wire.overflowed(struct_to_binary(value)) == struct_to_binary(marked)


@given(typed())
def test_number_is_read_back_from_its_bytes(case: tuple[DataType, DataValue]) -> None:
    data_type, now = case
    value = convert.data_value(now, data_type).Value
    assert value is not None
    expected = value.Value if data_type.is_numeric else None
    assert wire.number(PlainValue(now, data_type).wire) == expected


@given(MOMENTS)
def test_ticks_are_asyncuas(moment: datetime) -> None:
    assert wire.ticks(moment) == ua.datetime_to_win_epoch(moment)


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_a_mirror_is_encoded_as_it_is_shown(number: int) -> None:
    words = {0: ua.LocalizedText("Stand", "de"), 1: ua.LocalizedText("Fährt", "de")}
    original = PlainValue(VALUES["Setpoints/Mode"], DataType.UInt32)
    mirror = Mirror(original, lambda now: convert.mirrored(now, ua.VariantType.LocalizedText, words))
    original.set(DataValue(number, StatusCode.UncertainLastUsableValue, NOW, NOW))
    assert mirror.wire == struct_to_binary(mirror.value)
    assert mirror.wire[wire.SOURCE :] == original.wire[wire.SOURCE :]


def test_bytes_are_made_once_until_the_next_value() -> None:
    tag = PlainValue(VALUES["Monitoring/Pressure"], DataType.Double)
    first = tag.wire
    assert tag.wire is first
    assert tag.wire_of(tag.now) is first
    before: Any = tag.now
    tag.set(DataValue(1.0, StatusCode.Good, NOW, NOW))
    assert tag.wire != first
    assert tag.wire_of(before) == first
