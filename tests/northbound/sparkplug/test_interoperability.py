"""What other libraries make of our bytes, and we of theirs: the known differences, each held by a test.

    sent by us                    sparkplug-payload (node)     Tahu's schema (Python)
    Int8, Int16 below zero        the number                   sign over 32 bits
    Int32, Int64                  the number                   two's complement
    UInt32 in int_value           null                         the number; so a tag of UInt32 goes out as Int64
    UInt64                        a Long                       the number
    type left out, as in DATA     null, without type           the value; hence the switch `datatype_in_data`
    is_null, Quality, aliases     understood                   understood
    arrays                        null, without type           bytes; none of our tags is one

In the other direction every type of either encoder is read; both integer fields, masked (Tahu's Python) and with the
sign extended (sparkplug-payload, Tahu's Java).
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.hub.slots import Slots
from bridge.model.value import DataType, to_milliseconds
from bridge.northbound.sparkplug.codec import (
    METRIC_TYPES,
    DataSet,
    MetricEncoder,
    MetricType,
    Template,
    decode,
    payload,
    property_set,
    stamp,
)
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.plan import Plan
from tests import peers
from tests.northbound.sparkplug import schema
from tests.one_of_everything import NOW, VALUES, filled_table, machine

TS = 1486144502122
STAMP = stamp(TS)
NOW_MS = to_milliseconds(NOW)
WHEN = datetime(2026, 1, 2, tzinfo=UTC)
node = pytest.mark.peer("node")

MATRIX: list[tuple[MetricType, Any, Any, tuple[str, Any]]] = [
    # type, our value, what sparkplug-payload makes of it, Tahu's field and what is in it
    (MetricType.Int8, -5, -5, ("int_value", 0xFFFFFFFB)),
    (MetricType.Int16, -5, -5, ("int_value", 0xFFFFFFFB)),
    (MetricType.Int32, -5, -5, ("int_value", 0xFFFFFFFB)),
    (MetricType.Int64, -5, -5, ("long_value", 2**64 - 5)),
    (MetricType.Int64, 4_000_000_000, 4_000_000_000, ("long_value", 4_000_000_000)),
    (MetricType.UInt8, 255, 255, ("int_value", 255)),
    (MetricType.UInt16, 65535, 65535, ("int_value", 65535)),
    (MetricType.UInt32, 4_000_000_000, None, ("int_value", 4_000_000_000)),
    (MetricType.UInt64, 2**64 - 1, "18446744073709551615", ("long_value", 2**64 - 1)),
    (MetricType.Float, 1.5, 1.5, ("float_value", 1.5)),
    (MetricType.Double, -1e300, -1e300, ("double_value", -1e300)),
    (MetricType.Boolean, False, False, ("boolean_value", False)),
    (MetricType.String, "Grüße", "Grüße", ("string_value", "Grüße")),
    (MetricType.String, "", "", ("string_value", "")),
    (MetricType.Text, "text", "text", ("string_value", "text")),
    (MetricType.UUID, "c0ffee", "c0ffee", ("string_value", "c0ffee")),
    (MetricType.DateTime, WHEN, 1_767_312_000_000, ("long_value", 1_767_312_000_000)),
    (MetricType.Double, None, None, ("is_null", True)),
    (MetricType.Double, float("nan"), None, ("is_null", True)),
]


async def by_node(data: bytes) -> Any:
    """A payload as sparkplug-payload decodes it; its 64-bit integers as texts."""
    output = await peers.run_node("sparkplug_decoder.js", stdin=base64.b64encode(data) + b"\n")
    return json.loads(output.splitlines()[-1][1:])


async def from_node(metrics: list[dict[str, Any]]) -> bytes:
    """A payload that sparkplug-payload encodes."""
    line = json.dumps({"timestamp": TS, "metrics": metrics}).encode() + b"\n"
    return base64.b64decode(await peers.run_node("sparkplug_encoder.js", stdin=line))


def plain(kind: MetricType, value: Any) -> Any:
    """What a Long's text stands for; UInt64 beyond JavaScript's numbers stays a text."""
    if kind in (MetricType.Int64, MetricType.DateTime) and isinstance(value, str):
        number = int(value)
        return number - 2**64 if number >> 63 else number
    return value


@node
async def test_matrix_of_sparkplug_payload() -> None:
    metrics = [MetricEncoder(str(n), kind).birth(STAMP, value) for n, (kind, value, _, _) in enumerate(MATRIX)]
    theirs = await by_node(payload(TS, metrics, 0))
    assert int(theirs["timestamp"]) == TS
    for metric, (kind, _, expected, _) in zip(theirs["metrics"], MATRIX, strict=True):
        assert (metric["type"], plain(kind, metric["value"])) == (kind.name, expected)


@pytest.mark.parametrize(("kind", "value", "theirs", "expected"), MATRIX)
def test_matrix_of_tahu(kind: MetricType, value: Any, theirs: Any, expected: tuple[str, Any]) -> None:
    (metric,) = schema.decode(payload(TS, [MetricEncoder("N", kind).birth(STAMP, value)], 0)).metrics
    field, content = expected
    assert (metric.datatype, metric.WhichOneof("value") or "is_null") == (kind, field)
    assert getattr(metric, field) == content


def test_what_decoders_disagree_about_is_not_what_a_tag_becomes() -> None:
    doubtful = {MetricType.Int8, MetricType.Int16, MetricType.UInt8, MetricType.UInt16, MetricType.UInt32}
    assert not doubtful & {*METRIC_TYPES.values()}
    assert {*METRIC_TYPES} == {*DataType}


def births_and_data(**switches: Any) -> tuple[bytes, bytes]:
    table, _ = filled_table()
    plan = Plan(table.plant.bridge, SparkplugConfig(**switches))
    plan.follow(plan.difference(table.plant))
    plan.begin_births()
    device = plan.devices["extruder-1"]
    birth = payload(NOW_MS, device.birth(table, NOW, NOW_MS), 0)
    changed = [(slot, VALUES[one.tag.name]._replace(reason="again")) for slot, one in device.metrics.items()]
    later = [(slot, value._replace(source_timestamp=WHEN.replace(year=2027))) for slot, value in changed]
    return birth, payload(NOW_MS + 1, device.data(later, NOW_MS + 1), 1)


@node
@pytest.mark.parametrize("aliases", [False, True])
async def test_sparkplug_payload_reads_a_whole_device(aliases: bool) -> None:
    """Births, and data with types; without types it finds no values: that is what the switch is for."""
    birth, data = map(by_node, births_and_data(aliases=aliases, datatype_in_data=True))
    born, changed = (await birth)["metrics"], (await data)["metrics"]
    names = {metric.get("alias", metric["name"]): metric["name"] for metric in born}
    assert len(names) == len(born) == len(changed)
    assert all(("alias" in metric) is aliases for metric in (*born, *changed))
    assert [names[metric.get("alias", metric.get("name"))] for metric in changed] == [m["name"] for m in born]
    for first, second in zip(born, changed, strict=True):
        assert (first["type"], first["value"]) == (second["type"], second["value"])
        assert ("name" in second) is not aliases
    for name, metric in ((names[metric.get("alias", metric["name"])], metric) for metric in born):
        expected = VALUES[name].value
        kind = MetricType[metric["type"]]
        sent = to_milliseconds(expected) if isinstance(expected, datetime) else expected
        assert plain(kind, metric["value"]) == sent, name
    without = (await by_node(births_and_data(aliases=aliases)[1]))["metrics"]
    assert all(metric.get("value") is None and "type" not in metric for metric in without)


@node
async def test_sparkplug_payload_reads_our_properties_and_flags() -> None:
    known = {"engUnit": (MetricType.String, "°C"), "engLow": (MetricType.Double, 0.5)}
    properties = property_set({**known, "readOnly": (MetricType.Boolean, True), "Quality": (MetricType.Int32, 500)})
    encoder = MetricEncoder("N", MetricType.Double, 7)
    metrics = [encoder.birth(STAMP, 1.0, properties), encoder.encode(STAMP, 2.0, b"", True, historical=True)]
    born, past = (await by_node(payload(TS, metrics, 0)))["metrics"]
    assert born["properties"] == {
        "engUnit": {"type": "String", "value": "°C"},
        "engLow": {"type": "Double", "value": 0.5},
        "readOnly": {"type": "Boolean", "value": True},
        "Quality": {"type": "Int32", "value": 500},
    }
    assert "isHistorical" not in born
    assert (past["isHistorical"], past["value"], int(past["alias"]), "name" in past) == (True, 2.0, 7, False)


FROM_NODE = [
    ("Int8", -5, -5),
    ("Int16", -5, -5),
    ("Int32", -5, -5),
    ("Int64", -5, -5),
    ("UInt8", 255, 255),
    ("UInt16", 65535, 65535),
    ("UInt32", 4_000_000_000, 4_000_000_000),
    ("UInt64", 2**53 - 1, 2**53 - 1),
    ("Float", 1.5, 1.5),
    ("Double", 12.25, 12.25),
    ("Boolean", True, True),
    ("String", "Grüße", "Grüße"),
    ("DateTime", 1_767_312_000_000, WHEN),
    ("Text", "", ""),
    ("UUID", "c0ffee", "c0ffee"),
]


@node
async def test_every_scalar_of_sparkplug_payload_is_read() -> None:
    data = await from_node([{"name": kind, "type": kind, "value": value} for kind, value, _ in FROM_NODE])
    metrics = decode(data).metrics
    assert [(one.name, one.resolve()) for one in metrics] == [(kind, value) for kind, _, value in FROM_NODE]


@node
async def test_data_sets_templates_and_properties_of_sparkplug_payload_are_read() -> None:
    table = {"numOfColumns": 2, "columns": ["a", "b"], "types": ["Int32", "String"], "rows": [[-1, "x"], [2, ""]]}
    member = {"name": "Speed", "type": "Double", "value": 1.5}
    motor = {"version": "1", "isDefinition": True, "metrics": [member]}
    motor["parameters"] = [{"name": "Poles", "type": "Int32", "value": 4}]
    data = await from_node(
        [
            {"name": "set", "type": "DataSet", "value": table},
            {"name": "motor", "type": "Template", "value": motor},
            {
                "name": "described",
                "type": "Double",
                "value": 1,
                "alias": 9,
                "properties": {"engUnit": {"type": "String", "value": "bar"}},
            },
        ]
    )
    first, second, third = decode(data).metrics
    data_set, template = first.resolve(), second.resolve()
    assert isinstance(data_set, DataSet)
    assert data_set.table() == ((-1, "x"), (2, ""))
    assert isinstance(template, Template)
    assert [(one.name, one.resolve()) for one in template.metrics] == [("Speed", 1.5)]
    assert [(one.name, one.held and one.held.value) for one in template.parameters] == [("Poles", 4)]
    assert (third.alias, third.properties["engUnit"].value) == (9, "bar")


def test_tag_types_survive_a_round_through_tahu() -> None:
    """Everything our tags become, read by Tahu's schema, written by Tahu's code, and read by us."""
    whole = machine(Slots())
    for tag in whole.tags:
        kind, value = METRIC_TYPES[tag.definition.data_type], VALUES[tag.name].value
        if value is None:
            continue
        (theirs,) = schema.decode(payload(TS, [MetricEncoder(tag.name, kind).birth(STAMP, value)], 0)).metrics
        content = getattr(theirs, theirs.WhichOneof("value"))
        (again,) = decode(schema.encode((theirs.name, theirs.datatype, content))).metrics
        assert (again.name, again.resolve()) == (tag.name, value)
