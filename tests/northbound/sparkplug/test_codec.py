"""The codec against golden vectors, Tahu's schema in Google's runtime, and arbitrary bytes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec import MetricEncoder, MetricType, decode, payload, property_set, wire
from bridge.northbound.sparkplug.codec.wire import varint
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


WITH_ALIASES = bytes.fromhex(
    "08eaf2f5a8a02b"
    "12210a144e6f646520436f6e74726f6c2f5265626972746818eaf2f5a8a02b200b7000"
    "12260a0154100118eaf2f5a8a02b20034a100a075175616c6974791205080318c00150fbffffff0f"
    "12100a014e100218eaf2f5a8a02b200a3801"
    "1800"
)


def test_golden_birth_with_aliases_quality_and_null() -> None:
    quality = property_set({"Quality": (MetricType.Int32, 192)})
    metrics = [
        MetricEncoder("Node Control/Rebirth", MetricType.Boolean).birth(STAMP, False),
        MetricEncoder("T", MetricType.Int32, 1).birth(STAMP, -5, quality),
        MetricEncoder("N", MetricType.Double, 2).birth(STAMP, None),
    ]
    assert payload(TS, metrics, 0) == WITH_ALIASES


def test_golden_birth_is_decoded() -> None:
    decoded = decode(WITH_ALIASES)
    rebirth, small, null = decoded.metrics
    assert (decoded.timestamp, decoded.seq) == (TS, 0)
    assert (rebirth.name, rebirth.resolve(), rebirth.alias) == ("Node Control/Rebirth", False, None)
    assert (small.alias, small.resolve(), small.properties["Quality"]) == (1, -5, codec.Property(MetricType.Int32, 192))
    assert (null.alias, null.is_null, null.resolve()) == (2, True, None)


def test_golden_data_set() -> None:
    (metric,) = decode(bytes.fromhex("121a8a011708021201611201621803180c22090a0208010a03320178")).metrics
    data_set = metric.resolve(MetricType.DataSet)
    assert isinstance(data_set, codec.DataSet)
    assert (data_set.num_of_columns, data_set.columns, data_set.types) == (2, ("a", "b"), (3, 12))
    assert data_set.table() == ((1, "x"),)
    with pytest.raises(ProtocolError):
        metric.resolve(MetricType.Double)


def test_null_is_written_before_the_properties_and_a_value_after_them() -> None:
    """The order of field numbers, with every flag there is: Google's runtime writes the same bytes."""
    quality = property_set({"Quality": (MetricType.Int32, 0)})
    for value in (None, 1.5):
        for encoded in (
            MetricEncoder("N", MetricType.Double, 300).birth(STAMP, value, quality),
            MetricEncoder("N", MetricType.Double).encode(STAMP, value, quality, with_type=True, historical=True),
        ):
            data = payload(TS, [encoded], 1)
            assert schema.decode(data).SerializeToString() == data


def test_renamed_metric_goes_by_its_new_alias_only() -> None:
    encoder = MetricEncoder("N", MetricType.Double, 1)
    first = schema.decode(encoder.encode(STAMP, 1.0)).metrics[0]
    encoder.rename(2)
    second = schema.decode(encoder.encode(STAMP, 1.0)).metrics[0]
    assert [(one.alias, one.HasField("name")) for one in (first, second)] == [(1, False), (2, False)]


@given(st.lists(st.tuples(st.one_of(st.none(), st.text(max_size=200), st.text(max_size=9)), st.booleans())))
def test_heads_that_are_kept_fit_every_length(values: list[tuple[str | None, bool]]) -> None:
    encoder = MetricEncoder("Status/Message", MetricType.String)
    encoded = [encoder.encode(STAMP, value, with_type=typed) for value, typed in values]
    theirs = schema.decode(payload(TS, encoded, 1)).metrics
    assert [(one.string_value if not one.is_null else None, one.HasField("datatype")) for one in theirs] == values


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
        codec.Metric(datatype=MetricType.Bytes, value_field=15, value=""),
        codec.Metric(datatype=MetricType.DataSet, value_field=16, value=b""),
        codec.Metric(datatype=MetricType.PropertySet, value_field=16, value=b""),
        codec.Metric(datatype=MetricType.Int8Array, value_field=15, value="ab"),
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
