"""A tag as a metric: types, properties, quality, time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.hub.slots import Slots
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType, DataValue, Value, bad, to_milliseconds
from bridge.northbound.sparkplug.codec import MetricType
from bridge.northbound.sparkplug.metric import Stamps, TagMetric
from tests.northbound.sparkplug import schema
from tests.one_of_everything import DEFINITIONS, NOW, VALUES, machine

NOW_MS = to_milliseconds(NOW)
LATER_MS = NOW_MS + 10_000


def metric_of(data_type: DataType = DataType.Double, **more: Any) -> TagMetric:
    return TagMetric(Tag("m.T", 0, "m", TagDefinition("T", data_type)), **more)


def good(value: Value, at: datetime = NOW) -> DataValue:
    return DataValue(value, StatusCode.Good, at, at)


def uncertain(value: Value, at: datetime = NOW) -> DataValue:
    return DataValue(value, StatusCode.UncertainLastUsableValue, at, at, "old", at)


def read(encoded: bytes) -> Any:
    (metric,) = schema.decode(encoded).metrics
    return metric


def birth(metric: TagMetric, value: DataValue, now_ms: int = LATER_MS) -> Any:
    return read(metric.birth(value, now_ms, Stamps()))


def data(metric: TagMetric, value: DataValue, now_ms: int = LATER_MS) -> Any:
    change = metric.data(value, now_ms, Stamps())
    return None if change is None else read(change[1])


def properties(metric: Any) -> dict[str, Any]:
    return {
        key: getattr(one, one.WhichOneof("value"))
        for key, one in zip(metric.properties.keys, metric.properties.values, strict=True)
    }


@pytest.mark.parametrize(
    ("data_type", "kind", "value", "field", "raw"),
    [
        (DataType.Boolean, MetricType.Boolean, False, "boolean_value", False),
        (DataType.Int32, MetricType.Int32, -5, "int_value", 0xFFFFFFFB),
        (DataType.UInt32, MetricType.Int64, 2**32 - 1, "long_value", 2**32 - 1),
        (DataType.Int64, MetricType.Int64, -(2**63), "long_value", 2**63),
        (DataType.Double, MetricType.Double, 12.5, "double_value", 12.5),
        (DataType.String, MetricType.String, "", "string_value", ""),
        (DataType.DateTime, MetricType.DateTime, NOW, "long_value", NOW_MS),
    ],
)
def test_each_type_is_sent_in_its_value_field(
    data_type: DataType, kind: MetricType, value: Value, field: str, raw: object
) -> None:
    """tck-id-payloads-metric-datatype-value, -topics-dbirth-metrics"""
    born = birth(metric_of(data_type), good(value))
    assert (born.name, born.datatype, born.WhichOneof("value")) == ("T", kind, field)
    assert getattr(born, field) == raw
    assert not born.is_null


def test_every_tag_type_has_a_metric_type() -> None:
    slots = Slots()
    for tag in machine(slots).tags:
        assert birth(TagMetric(tag), VALUES[tag.name]).datatype in set(MetricType)
    assert {definition.data_type for definition in DEFINITIONS} == set(DataType)


def test_payloads_metric_datatype_not_req_in_data_unless_wanted() -> None:
    plain, typed = metric_of(), metric_of(datatype_in_data=True)
    assert not data(plain, good(1.0)).HasField("datatype")
    assert data(typed, good(1.0)).datatype == MetricType.Double


def test_births_describe_the_metric() -> None:
    tag = machine(Slots()).tag("Monitoring/Pressure")
    assert tag is not None
    assert properties(birth(TagMetric(tag), good(1.0))) == {
        "readOnly": True,
        "engUnit": "bar",
        "engLow": 0.0,
        "engHigh": 350.0,
        "documentation": "Pressure before the die",
    }


def test_enumeration_is_explained_in_words() -> None:
    tag = machine(Slots()).tag("Setpoints/Mode")
    assert tag is not None
    told = properties(birth(TagMetric(tag), good(2)))
    assert told == {"readOnly": True, "documentation": "0 Standby, 1 Heat, 2 Extrude"}


@pytest.mark.parametrize(
    ("name", "takes_commands", "is_read_only"),
    [("Setpoints/Mode", True, False), ("Setpoints/Mode", False, True), ("Setpoints/ModeText", True, True)],
)
def test_set_point_is_writable_only_while_the_door_is_open(name: str, takes_commands: bool, is_read_only: bool) -> None:
    tag = machine(Slots()).tag(name)
    assert tag is not None
    told = properties(birth(TagMetric(tag, takes_commands=takes_commands), good(None)))
    assert told["readOnly"] is is_read_only


def test_operational_behavior_data_publish_dbirth_values_null_has_no_value() -> None:
    born = birth(metric_of(), bad(StatusCode.BadWaitingForInitialData, "waiting", NOW))
    assert born.is_null
    assert born.WhichOneof("value") is None
    assert born.datatype == MetricType.Double
    assert properties(born)["Quality"] == 0


def test_quality_is_said_while_not_good_and_once_on_recovery() -> None:
    """tck-id-payloads-propertyset-quality-value-value"""
    metric = metric_of()
    birth(metric, good(1.0))
    said = [
        properties(data(metric, value))
        for value in (
            good(2.0),
            uncertain(2.0),
            uncertain(3.0),
            bad(StatusCode.BadSensorFailure, "broken", NOW),
            good(4.0),
            good(5.0),
        )
    ]
    assert said == [{}, {"Quality": 500}, {"Quality": 500}, {"Quality": 0}, {"Quality": 192}, {}]


def test_birth_after_a_bad_time_says_that_it_is_good_again() -> None:
    metric = metric_of()
    birth(metric, bad(StatusCode.BadNoCommunication, "lost", NOW))
    assert properties(birth(metric, good(1.0)))["Quality"] == 192
    assert "Quality" not in properties(birth(metric, good(1.0)))


def test_quality_can_be_left_out() -> None:
    metric = metric_of(sends_quality=False)
    assert "Quality" not in properties(birth(metric, uncertain(1.0)))
    assert properties(data(metric, uncertain(2.0))) == {}


def test_number_json_does_not_know_is_null_and_bad() -> None:
    metric = metric_of()
    birth(metric, good(1.0))
    told = data(metric, good(float("nan")))
    assert told.is_null
    assert properties(told) == {"Quality": 0}


def test_principles_rbe_recommended_only_changes_are_said() -> None:
    metric = metric_of()
    value = good(1.0)
    birth(metric, value)
    assert data(metric, value) is None
    assert data(metric, good(1.0)) is None
    assert data(metric, good(2.0)) is not None
    assert data(metric, uncertain(2.0)) is not None


def test_same_value_at_a_later_time_is_a_change() -> None:
    """All faces show the same time stamp once traffic rests."""
    metric = metric_of()
    birth(metric, good(1.0))
    told = data(metric, good(1.0, NOW + timedelta(seconds=1)))
    assert told.timestamp == NOW_MS + 1000


def test_timestamp_is_the_source_s() -> None:
    assert birth(metric_of(), good(1.0)).timestamp == NOW_MS


def test_payloads_timestamp_in_utc_is_never_in_the_future() -> None:
    metric = metric_of()
    ahead = good(1.0, NOW + timedelta(hours=1))
    assert birth(metric, ahead, NOW_MS).timestamp == NOW_MS
    assert data(metric, good(2.0, NOW + timedelta(hours=2)), NOW_MS + 5).timestamp == NOW_MS + 5


def test_timestamp_never_goes_back() -> None:
    metric = metric_of()
    birth(metric, good(1.0))
    assert data(metric, good(2.0, NOW - timedelta(seconds=5))).timestamp == NOW_MS
    assert data(metric, good(3.0, NOW + timedelta(seconds=1))).timestamp == NOW_MS + 1000


def test_past_value_is_historical_and_leaves_the_present_alone() -> None:
    metric = metric_of(datatype_in_data=True)
    birth(metric, good(1.0))
    then = NOW - timedelta(hours=1)
    said_ms, encoded = metric.past(good(9.0, then), Stamps())
    told = read(encoded)
    assert (told.is_historical, told.double_value, told.timestamp) == (True, 9.0, NOW_MS - 3_600_000)
    assert (told.name, told.datatype, said_ms) == ("T", MetricType.Double, told.timestamp)
    assert data(metric, good(1.0)) is None, "hosts still know the present value"
    assert not data(metric, good(2.0)).HasField("is_historical")


def test_past_quality_is_said_while_not_good_and_once_on_recovery() -> None:
    metric, stamps = metric_of(), Stamps()
    birth(metric, uncertain(1.0))
    past = [
        good(2.0),
        bad(StatusCode.BadSensorFailure, "broken", NOW),
        good(float("inf")),
        good(3.0),
        good(4.0),
    ]
    told = [read(metric.past(value, stamps)[1]) for value in past]
    assert [properties(one) for one in told] == [{}, {"Quality": 0}, {"Quality": 0}, {"Quality": 192}, {}]
    assert [one.is_null for one in told] == [False, True, True, False, False]
    assert properties(data(metric, good(5.0))) == {"Quality": 192}, "the present recovers by itself"


def test_stamps_remember_the_last_moment_only() -> None:
    stamps = Stamps()
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms) for ms in (0, 1, 0)]
    assert [stamps.milliseconds(moment) for moment in moments] == [to_milliseconds(moment) for moment in moments]
