"""The codec against golden vectors, Google's runtime and sparkplug-payload (node); and against arbitrary bytes."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug import codec, wire
from bridge.northbound.sparkplug.codec import MetricEncoder, decode, payload, property_set
from bridge.northbound.sparkplug.datatype import MetricType
from bridge.northbound.sparkplug.wire import varint
from tests import peers
from tests.northbound.sparkplug import schema

TS = 1486144502122
STAMP = varint(TS)

VALUES = {
    MetricType.Int32: st.integers(-(2**31), 2**31 - 1),
    MetricType.Int64: st.integers(-(2**63), 2**63 - 1),
    MetricType.Double: st.floats(allow_nan=False, allow_infinity=False),
    MetricType.Boolean: st.booleans(),
    MetricType.String: st.text(),
    MetricType.DateTime: st.integers(0, 4_102_444_800_000).map(
        lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    ),
}
TYPED = st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind]))


def test_golden_ndeath() -> None:
    metric = MetricEncoder("bdSeq", MetricType.Int64).encode(STAMP, 0, with_type=True)
    assert payload(TS, [metric], None).hex() == "08eaf2f5a8a02b12120a05626453657118eaf2f5a8a02b20045800"


def test_golden_birth_with_quality_and_null() -> None:
    """Differs from the vector of the facts page by its aliases, which we do not use."""
    rebirth = MetricEncoder("Node Control/Rebirth", MetricType.Boolean).encode(STAMP, False, with_type=True)
    quality = property_set({"Quality": (MetricType.Int32, 192)})
    small = MetricEncoder("T", MetricType.Int32).encode(STAMP, -5, quality, with_type=True)
    null = MetricEncoder("N", MetricType.Double).encode(STAMP, None, with_type=True)
    assert payload(TS, [rebirth, small, null], 0).hex() == (
        "08eaf2f5a8a02b"
        "12210a144e6f646520436f6e74726f6c2f5265626972746818eaf2f5a8a02b200b7000"
        "12240a015418eaf2f5a8a02b20034a100a075175616c6974791205080318c00150fbffffff0f"
        "120e0a014e18eaf2f5a8a02b200a3801"
        "1800"
    )


def test_golden_vector_with_aliases_is_decoded() -> None:
    decoded = decode(
        bytes.fromhex(
            "08eaf2f5a8a02b12210a144e6f646520436f6e74726f6c2f5265626972746818eaf2f5a8a02b200b700012260a0154100118"
            "eaf2f5a8a02b20034a100a075175616c6974791205080318c00150fbffffff0f12100a014e100218eaf2f5a8a02b200a3801"
            "1800"
        )
    )
    rebirth, small, null = decoded.metrics
    assert (decoded.timestamp, decoded.seq) == (TS, 0)
    assert (rebirth.name, rebirth.resolve(), rebirth.alias) == ("Node Control/Rebirth", False, None)
    assert (small.alias, small.resolve(), small.properties["Quality"].value) == (1, -5, 192)
    assert (null.alias, null.is_null, null.resolve()) == (2, True, None)


def test_golden_dataset_stays_bytes() -> None:
    (metric,) = decode(bytes.fromhex("121a8a011708021201611201621803180c22090a0208010a03320178")).metrics
    assert metric.value_field == 17
    with pytest.raises(ProtocolError):
        metric.resolve(MetricType.Double)


@given(typed=TYPED, name=st.text(min_size=1), stamp=st.integers(0, 2**50), seq=st.integers(0, 255))
def test_google_s_runtime_reads_what_we_write(
    typed: tuple[MetricType, object], name: str, stamp: int, seq: int
) -> None:
    kind, value = typed
    data = payload(stamp, [MetricEncoder(name, kind).encode(varint(stamp), value, with_type=True)], seq)  # type: ignore[arg-type]
    theirs = schema.decode(data)
    assert theirs.SerializeToString() == data, "the same fields in the same order, byte for byte"
    assert (theirs.timestamp, theirs.HasField("seq"), theirs.seq) == (stamp, True, seq)
    (metric,) = theirs.metrics
    assert (metric.name, metric.timestamp, metric.datatype) == (name, stamp, kind)
    (ours,) = decode(data).metrics
    assert ours.resolve() == value
    assert decode(data).seq == seq


@given(st.floats())
def test_numbers_json_does_not_know_are_null(value: float) -> None:
    (metric,) = schema.decode(payload(TS, [MetricEncoder("N", MetricType.Double).encode(STAMP, value)], 0)).metrics
    assert metric.is_null is not math.isfinite(value)
    assert (metric.WhichOneof("value") is None) is metric.is_null


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.one_of(
            st.tuples(st.just(MetricType.Int32), VALUES[MetricType.Int32]),
            st.tuples(st.just(MetricType.Double), VALUES[MetricType.Double]),
            st.tuples(st.just(MetricType.Boolean), st.booleans()),
            st.tuples(st.just(MetricType.String), st.text()),
        ),
        max_size=5,
    )
)
def test_payloads_propertyset_sizes_and_types(given_: dict[str, tuple[MetricType, object]]) -> None:
    """tck-id-payloads-propertyset-keys-array-size, -values-array-size, -metric-propertyvalue-type-req"""
    metric = MetricEncoder("N", MetricType.Boolean).encode(STAMP, True, property_set(given_))  # type: ignore[arg-type]
    (theirs,) = schema.decode(payload(TS, [metric], 0)).metrics
    assert list(theirs.properties.keys) == list(given_)
    assert [value.type for value in theirs.properties.values] == [kind for kind, _ in given_.values()]
    (ours,) = decode(payload(TS, [metric], 0)).metrics
    expected = {key: value & 0xFFFFFFFF if kind == 3 else value for key, (kind, value) in given_.items()}  # type: ignore[operator]
    assert {key: one.value for key, one in ours.properties.items()} == expected


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_a_protocol_error(data: bytes) -> None:
    try:
        decoded = decode(data)
    except ProtocolError:
        return
    for metric in decoded.metrics:
        for kind in (None, *MetricType):
            try:
                metric.resolve(kind)
            except ProtocolError:
                continue


@given(st.binary(max_size=60), st.data())
def test_damaged_payloads_decode_or_are_a_protocol_error(noise: bytes, data: st.DataObject) -> None:
    good = payload(TS, [MetricEncoder("Node Control/Rebirth", MetricType.Boolean).encode(STAMP, True)], 3)
    at = data.draw(st.integers(0, len(good)))
    try:
        decode(good[:at] + noise + good[at + len(noise) :])
    except ProtocolError:
        return


@given(st.binary(max_size=200))
def test_what_google_s_runtime_reads_we_read_the_same(data: bytes) -> None:
    try:
        theirs = schema.decode(data)
    except Exception:
        return
    try:
        ours = decode(data)
    except ProtocolError:
        return  # we refuse groups and text that is not UTF-8, it does not
    assert ours.seq == (theirs.seq if theirs.HasField("seq") else None)
    assert [metric.name for metric in ours.metrics] == [
        metric.name if metric.HasField("name") else None for metric in theirs.metrics
    ]


@pytest.mark.parametrize(
    ("kind", "field", "raw", "value"),
    [
        (MetricType.Int8, 10, 0xFFFFFFFB, -5),
        (MetricType.Int8, 10, 0xFB, -5),
        (MetricType.Int16, 10, 0xFFFFFFFB, -5),
        (MetricType.Int16, 10, 0xFFFB, -5),
        (MetricType.Int32, 10, 0xFFFFFFFB, -5),
        (MetricType.Int32, 11, 2**64 - 5, -5),
        (MetricType.Int64, 11, 2**64 - 5, -5),
        (MetricType.Int64, 10, 5, 5),
        (MetricType.UInt8, 10, 255, 255),
        (MetricType.UInt32, 10, 4_000_000_000, 4_000_000_000),
        (MetricType.UInt32, 11, 4_000_000_000, 4_000_000_000),
        (MetricType.UInt64, 11, 2**64 - 1, 2**64 - 1),
        (MetricType.Double, 12, 1.5, 1.5),
    ],
)
def test_integers_of_every_library_are_understood(kind: MetricType, field: int, raw: float, value: float) -> None:
    """The encodings of Tahu (Java and Python), sparkplug-payload and pysparkplug."""
    assert codec.Metric(datatype=kind, value_field=field, value=raw).resolve() == value
    assert codec.Metric(value_field=field, value=raw).resolve(kind) == value, "type omitted: the birth's counts"


@pytest.mark.parametrize(
    "metric",
    [
        codec.Metric(value_field=10, value=1),
        codec.Metric(datatype=99, value_field=10, value=1),
        codec.Metric(datatype=MetricType.Double, value_field=15, value="1"),
        codec.Metric(datatype=MetricType.Int32, value_field=13, value=1.0),
        codec.Metric(datatype=MetricType.Boolean, value_field=10, value=1),
        codec.Metric(datatype=MetricType.DateTime, value_field=11, value=2**62),
        codec.Metric(datatype=MetricType.Bytes, value_field=16, value=b""),
    ],
)
def test_value_that_does_not_fit_its_type_is_a_protocol_error(metric: codec.Metric) -> None:
    with pytest.raises(ProtocolError):
        metric.resolve()


def test_unknown_fields_are_passed_over() -> None:
    known = payload(TS, [], 7)
    extended = known + b"\xa2\x06\x03abc" + b"\xa8\x06\x01" + b"\xb1\x06" + bytes(8) + b"\xbd\x06" + bytes(4)
    assert decode(extended) == decode(known)


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(number: int) -> None:
    encoded = varint(number)
    assert wire.read_varint(encoded, 0) == (number, len(encoded))


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
