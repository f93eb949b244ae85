"""What other libraries make of our bytes, and we of theirs (the matrix of known differences)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bridge.northbound.sparkplug.codec import MetricEncoder, MetricType, payload, property_set, stamp
from tests import peers

TS = 1486144502122
STAMP = stamp(TS)

JAVASCRIPT = """
const codec = require('sparkplug-payload').get('spBv1.0');
const chunks = [];
process.stdin.on('data', c => chunks.push(c)).on('end', () => {
  const decoded = codec.decodePayload(Buffer.concat(chunks));
  const plain = v => (v && v.low !== undefined) ? Number(v.toSigned().toString()) : v;  // Long.js
  process.stdout.write(JSON.stringify(decoded, (_, v) => plain(v)));
});
"""


@pytest.mark.peer("node")
async def test_sparkplug_payload_reads_our_births() -> None:
    """The JavaScript library of Node-RED and others."""
    properties = property_set(
        {"engUnit": (MetricType.String, "°C"), "engLow": (MetricType.Double, 0.5), "Quality": (MetricType.Int32, 500)}
    )
    values: list[tuple[str, MetricType, object]] = [
        ("small", MetricType.Int32, -5),
        ("long", MetricType.Int64, -1234567),
        ("double", MetricType.Double, 12.5),
        ("yes", MetricType.Boolean, True),
        ("text", MetricType.String, "Grüße"),
        ("when", MetricType.DateTime, datetime(2026, 1, 2, tzinfo=UTC)),
        ("nothing", MetricType.Double, None),
    ]
    metrics = [
        MetricEncoder(name, kind).encode(STAMP, value, properties, with_type=True)  # type: ignore[arg-type]
        for name, kind, value in values
    ]
    theirs = json.loads(await peers.run_node(JAVASCRIPT, stdin=payload(TS, metrics, 0)))
    assert (theirs["timestamp"], theirs["seq"]) == (TS, 0)
    found = {metric["name"]: metric for metric in theirs["metrics"]}
    assert {name: one["type"] for name, one in found.items()} == {name: kind.name for name, kind, _ in values}
    assert [found[name]["value"] for name in ("small", "long", "double", "yes", "text", "nothing")] == [
        -5,
        -1234567,
        12.5,
        True,
        "Grüße",
        None,
    ]
    assert found["when"]["value"] == 1_767_312_000_000
    assert found["double"]["properties"] == {
        "engUnit": {"type": "String", "value": "°C"},
        "engLow": {"type": "Double", "value": 0.5},
        "Quality": {"type": "Int32", "value": 500},
    }
