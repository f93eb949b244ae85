from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.model.units import unit_of
from bridge.sources.iotistica.mqtt.encoding import decode
from bridge.sources.iotistica.mqtt.telemetry import batch_of, is_heartbeat
from tests.sources.iotistica.recorded import ALL, BATCHES, DRYER, EXTRUDER
from tests.sources.iotistica.rig import PUMP, START, batch, reading

ROW = {
    "device_uuid",
    "device",
    "endpoint_uuid",
    "metric",
    "value",
    "unit",
    "quality",
    "quality_code",
    "time",
    "protocol",
}


def rows(message: Any) -> list[dict[str, Any]]:
    return [row for _, row in batch_of(message, START).rows]


@pytest.mark.parametrize("recorded", BATCHES, ids=lambda one: one.file)
def test_every_recorded_batch_gives_rows_of_one_shape(recorded: Any) -> None:
    found = batch_of(decode(recorded.payload), START)
    assert found.rows
    assert found.refused == 0
    for moment, row in found.rows:
        assert set(row) == ROW
        assert moment == datetime.fromisoformat(row["time"])
        assert row["quality"] in ("good", "bad")
        assert (row["quality"] == "bad") == (row["quality_code"] == "DEVICE_OFFLINE") == (row["value"] is None)
        assert row["unit"] is None or unit_of(row["unit"]).code in ("Cel", "r/min", "mm", "bar")


@pytest.mark.parametrize("form", ["custom", "tags", "ecp", "ml"])
def test_the_same_readings_are_the_same_however_they_are_encoded(form: str) -> None:
    same = [
        rows(decode(one.payload))
        for one in BATCHES
        if one.told["format"] == form and one.told.get("same_batch") == "14"
    ]
    assert len(same) >= 2
    for other in same[1:]:
        assert [{**row, "time": ""} for row in other] == [{**row, "time": ""} for row in same[0]]


def test_two_devices_with_the_same_metrics_are_two() -> None:
    (recorded,) = [one for one in BATCHES if one.file == "custom_all_types_json_deflate.bin"]
    found = rows(decode(recorded.payload))
    speeds = {row["device_uuid"] for row in found if row["metric"] == "screw_speed"}
    assert {EXTRUDER, DRYER} <= speeds
    types = {type(row["value"]) for row in found if row["device_uuid"] == EXTRUDER}
    assert types == {float, int, bool, str}


def test_a_heartbeat_is_no_telemetry() -> None:
    (recorded,) = [one for one in ALL if one.file == "heartbeat.bin"]
    assert is_heartbeat(decode(recorded.payload))
    assert not any(is_heartbeat(decode(one.payload)) for one in BATCHES)


def test_a_reading_may_stand_alone_in_a_group_or_in_a_batch() -> None:
    one = reading(2)
    group = {"timestamp": START.isoformat(), "readings": [one, one]}
    assert len(rows(batch(one, group))) == 3
    assert rows(one) == rows([one])
    assert rows(group)[0]["value"] == 2


def test_a_reading_without_a_time_has_that_of_its_group() -> None:
    later = (START + timedelta(seconds=7)).isoformat()
    bare = {name: value for name, value in reading().items() if name != "timestamp"}
    assert rows({"messages": [{"timestamp": later, "readings": [bare]}]})[0]["time"] == later
    assert rows({"messages": [bare]})[0]["time"] == START.isoformat()
    assert rows(batch(reading(timestamp="yesterday")))[0]["time"] == START.isoformat()
    assert rows(batch(reading(timestamp=START.timestamp() * 1000)))[0]["time"] == START.isoformat()
    assert rows(batch(reading(timestamp="2026-11-21T23:00:00+01:00")))[0]["time"] == START.isoformat()


def test_a_device_without_a_uuid_is_known_by_its_name_and_endpoint() -> None:
    bare = {"deviceName": "pump", "endpoint_uuid": "e-1", "metric": "x", "value": 1, "quality": "GOOD"}
    assert rows([bare])[0]["device_uuid"] == "pump@e-1"
    shown = rows([reading(resolvedDisplayName="Pump in hall 3")])[0]
    assert (shown["device_uuid"], shown["device"]) == (PUMP, "Pump in hall 3")


@pytest.mark.parametrize(
    ("said", "code", "quality", "told"),
    [
        ("GOOD", None, "good", None),
        ("good", None, "good", None),
        ("BAD", "ETIMEDOUT", "bad", "ETIMEDOUT"),
        ("UNCERTAIN", None, "uncertain", None),
        ("stale", None, "stale", None),
        ("NOT_CONNECTED", None, "bad", "NOT_CONNECTED"),
        ("PURPLE", None, "unknown", None),
        (None, None, "good", None),
        (None, "ETIMEDOUT", "bad", "ETIMEDOUT"),
        (0, None, "good", None),
        (0x80310000, None, "bad", None),
        (0x40900000, None, "uncertain", None),
        (2, None, "unknown", None),
        (True, None, "unknown", None),
    ],
)
def test_quality_is_one_of_five_words(said: Any, code: Any, quality: str, told: str | None) -> None:
    row = rows([reading(quality=said, qualityCode=code)])[0]
    assert (row["quality"], row["quality_code"]) == (quality, told)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_no_value(value: float) -> None:
    packed = msgpack.packb(batch(reading(value)))
    row = rows(decode(packed))[0]
    assert (row["value"], row["quality"], row["quality_code"]) == (None, "bad", "NOT_A_NUMBER")


def test_values_keep_their_types_and_what_is_no_scalar_is_told() -> None:
    for value in (True, 7, 1.5, "on", None):
        told = rows([reading(value)])[0]["value"]
        assert told == value
        assert type(told) is type(value)
    row = rows([reading({"a": 1})])[0]
    assert (row["value"], row["quality_code"]) == (None, "NOT_A_SCALAR")


def test_one_reading_that_cannot_be_read_does_not_take_the_others_with_it() -> None:
    found = batch_of(batch(reading(), {"value": 1}, 7, reading(metric="")), START)
    assert (len(found.rows), found.refused) == (1, 3)
    assert "no metric" in found.fault


# -- EMQX Neuron


def test_neurons_tags_values_and_ecp_are_read() -> None:
    head = {"timestamp": 1_795_298_400_000, "node": "plc-1", "group": "fast"}
    tags = {**head, "tags": [{"name": "t", "value": 5, "type": 2}, {"name": "u", "error": 3002}]}
    values = {**head, "values": {"t": 5}, "errors": {"u": 3002}}
    for message in (tags, values):
        first, second = rows(message)
        assert (first["device_uuid"], first["device"], first["metric"], first["value"]) == (
            "plc-1/fast",
            "plc-1",
            "t",
            5,
        )
        assert first["time"] == datetime(2026, 11, 21, 22, tzinfo=UTC).isoformat()
        assert (second["value"], second["quality"], second["quality_code"]) == (None, "bad", "3002")


def test_the_node_of_an_agents_tags_says_nothing_of_their_devices() -> None:
    """It is the first device of the batch: the next batch may have another one."""
    tags = [{"name": "pump_1_flow", "rawName": "flow", "value": 1}, {"name": "Speed", "rawName": "Speed", "value": 2}]
    for node in ("pump-1", "press-2"):
        message = {"timestamp": 1_795_298_400_000, "node": node, "group": "modbus", "tags": tags}
        assert [(row["device_uuid"], row["metric"]) for row in rows(message)] == [
            ("pump_1", "flow"),
            ("modbus", "Speed"),
        ]


@pytest.mark.parametrize(
    "message", [7, "x", None, {}, {"node": "", "group": ""}, {"node": "n", "group": "g"}, {"a": 1}]
)
def test_what_is_no_batch_is_told(message: Any) -> None:
    if message == {"node": "", "group": ""}:
        message = {**message, "tags": []}
    with pytest.raises(ProtocolError, match=r"telemetry|node"):
        batch_of(message, START)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["messages", "readings", "metric", "value", "quality", "qualityCode", "timestamp", "node", "group", "tags",
             "values", "errors", "features", "name", "rawName", "unit", "deviceName", "device_uuid", "endpoint_uuid"]
        ), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@given(json_like)
def test_any_message_gives_rows_or_a_sentence(message: Any) -> None:
    try:
        found = batch_of(message, START)
    except ProtocolError as error:
        assert str(error)
        return
    for moment, row in found.rows:
        assert moment.tzinfo is not None
        assert row["value"] is None or isinstance(row["value"], bool | int | float | str)
        assert row["quality"] in ("good", "bad", "uncertain", "stale", "unknown")
        assert 0 < len(row["metric"]) <= 200
        assert 0 < len(row["device_uuid"]) <= 200
