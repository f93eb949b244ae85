"""DataValues both ways, and what does not fit."""

import math
from datetime import UTC, datetime

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.status import StatusCode
from bridge.model.units import UNITS
from bridge.model.value import DataType, DataValue
from bridge.northbound.opcua import convert
from tests.one_of_everything import DEFINITIONS, NOW, VALUES

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(alphabet=st.characters(categories=["Cs", "L"])),
    st.datetimes(timezones=st.just(UTC)),
    st.binary(),
    st.lists(st.integers()),
)


def on_the_wire(value: ua.DataValue) -> ua.DataValue:
    from asyncua.common.utils import Buffer

    return struct_from_binary(ua.DataValue, Buffer(struct_to_binary(value)))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda one: one.name)
def test_one_of_everything_survives_the_wire(definition) -> None:  # type: ignore[no-untyped-def]
    value = VALUES[definition.name]
    back = convert.from_data_value(on_the_wire(convert.data_value(value, definition.data_type)), NOW)
    assert back == DataValue(value.value, value.status, value.source_timestamp, value.server_timestamp)


@given(value=ANYTHING, data_type=st.sampled_from(DataType), status=st.sampled_from(StatusCode))
def test_whatever_a_tag_holds_can_be_encoded(value: object, data_type: DataType, status: StatusCode) -> None:
    made = convert.data_value(DataValue(value, status, NOW, NOW), data_type)  # type: ignore[arg-type]
    back = on_the_wire(made)
    assert back.StatusCode == made.StatusCode
    assert back.SourceTimestamp == NOW
    if made.StatusCode is not None and made.StatusCode.is_bad():
        assert back.Value is None or back.Value.Value is None


@pytest.mark.parametrize(
    ("value", "data_type", "expected"),
    [
        (math.nan, DataType.Double, StatusCode.BadOutOfRange),
        (math.inf, DataType.Double, StatusCode.BadOutOfRange),
        (10**400, DataType.Double, StatusCode.BadOutOfRange),
        (2**31, DataType.Int32, StatusCode.BadOutOfRange),
        (-1, DataType.UInt32, StatusCode.BadOutOfRange),
        (2**63, DataType.Int64, StatusCode.BadOutOfRange),
        (1.5, DataType.Int32, StatusCode.BadTypeMismatch),
        ("1", DataType.Double, StatusCode.BadTypeMismatch),
        (True, DataType.Int32, StatusCode.BadTypeMismatch),
        (1, DataType.Boolean, StatusCode.BadTypeMismatch),
        (1, DataType.String, StatusCode.BadTypeMismatch),
        ("now", DataType.DateTime, StatusCode.BadTypeMismatch),
        (None, DataType.Double, StatusCode.BadNoData),
    ],
)
def test_a_value_that_does_not_fit_becomes_a_status(value: object, data_type: DataType, expected: StatusCode) -> None:
    made = convert.data_value(DataValue(value, StatusCode.Good, NOW, NOW), data_type)  # type: ignore[arg-type]
    assert made.StatusCode is not None
    assert made.StatusCode.value == expected
    assert made.Value is not None
    assert made.Value.Value is None


@pytest.mark.parametrize(("value", "data_type", "expected"), [(3.0, DataType.Int32, 3), (3, DataType.Double, 3.0)])
def test_lossless_numbers_fit(value: float, data_type: DataType, expected: float) -> None:
    made = convert.data_value(DataValue(value, StatusCode.Good, NOW, NOW), data_type)
    assert made.Value is not None
    assert (made.Value.Value, type(made.Value.Value)) == (expected, type(expected))


def test_uncertain_keeps_its_value_and_bad_has_none() -> None:
    uncertain = DataValue(1.0, StatusCode.UncertainLastUsableValue, NOW, NOW)
    assert convert.data_value(uncertain, DataType.Double).Value.Value == 1.0
    bad = DataValue(1.0, StatusCode.BadNoCommunication, NOW, NOW)
    assert convert.data_value(bad, DataType.Double).Value.Value is None


@given(st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)))
def test_source_time_is_exact_to_the_microsecond(moment: datetime) -> None:
    made = convert.data_value(DataValue(1, StatusCode.Good, moment, moment), DataType.Int32)
    assert on_the_wire(made).SourceTimestamp == moment


def test_every_status_and_every_type_has_its_counterpart() -> None:
    for status in StatusCode:
        assert convert.status_code(status).name == status.name
    for data_type in DataType:
        assert convert.variant_type(data_type).name == data_type.name


@pytest.mark.parametrize("code", [0x80AC0000, 0x40BC0000, 0x00A70000])
def test_a_status_we_do_not_name_keeps_its_severity(code: int) -> None:
    back = convert.from_data_value(ua.DataValue(ua.Variant(1), ua.StatusCode(code)), NOW)
    assert back.status >> 30 == code >> 30


def test_unit_id_is_the_code_as_a_number() -> None:
    assert convert.eu_information(UNITS["bar"]).UnitId == 4342098
    assert convert.eu_information(UNITS["r/min"]).UnitId == 5394509


@pytest.mark.parametrize(
    ("enumeration", "dense"),
    [({"A": 0, "B": 1}, True), ({"B": 1, "A": 0}, True), ({"A": 1}, False), ({"A": 0, "B": 2}, False)],
)
def test_only_numbers_without_a_gap_are_dense(enumeration: dict[str, int], dense: bool) -> None:
    assert convert.is_dense(enumeration) is dense


@pytest.mark.parametrize(
    ("text", "data_type", "expected"),
    [
        ("2021", 5, 2021),
        ("x", 5, None),
        ("a", 12, "a"),
        (None, 12, None),
        ("2021-01-02", 13, datetime(2021, 1, 2, tzinfo=UTC)),
    ],
)
def test_identification_texts_take_their_declared_type(text: str | None, data_type: int, expected: object) -> None:
    made = convert.from_text(text, ua.NodeId(data_type))
    assert made.Value.Value == expected
    assert made.StatusCode.is_good() is (expected is not None)
