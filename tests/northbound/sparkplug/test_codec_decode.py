"""Everything the schema can say is decoded, as Tahu writes it; what means harm is refused in a moment."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec import MAX_BYTES, MAX_DEPTH, MAX_FIELDS, MetricType, decode
from bridge.northbound.sparkplug.codec.wire import MAX_GROUPS, length_delimited
from tests.northbound.sparkplug import schema


def only(metric: Any) -> codec.Metric:
    payload = schema.Payload()
    payload.metrics.append(metric)
    (decoded,) = decode(payload.SerializeToString()).metrics
    return decoded


def test_every_field_of_a_payload_and_a_metric() -> None:
    theirs = schema.Payload(timestamp=2**64 - 1, seq=255, uuid="type", body=b"\0\xff")
    theirs.metrics.add(
        name="N",
        alias=2**64 - 1,
        timestamp=1,
        datatype=12,
        is_historical=True,
        is_transient=True,
        is_null=False,
        string_value="",
    )
    decoded = decode(theirs.SerializeToString())
    assert (decoded.timestamp, decoded.seq, decoded.uuid, decoded.body) == (2**64 - 1, 255, "type", b"\0\xff")
    (metric,) = decoded.metrics
    assert (metric.name, metric.alias, metric.timestamp, metric.datatype) == ("N", 2**64 - 1, 1, 12)
    assert (metric.is_historical, metric.is_transient, metric.is_null, metric.resolve()) == (True, True, False, "")


def test_meta_data() -> None:
    theirs = schema.Metric(datatype=MetricType.File, bytes_value=b"%PDF")
    said = {"is_multi_part": True, "content_type": "application/pdf", "size": 4, "seq": 1, "file_name": "a.pdf"}
    said |= {"file_type": "pdf", "md5": "0", "description": "d"}
    for name, value in said.items():
        setattr(theirs.metadata, name, value)
    assert only(theirs).metadata == codec.MetaData(**said)  # type: ignore[arg-type]
    assert only(theirs).resolve() == b"%PDF"


def test_property_sets_within_property_sets() -> None:
    theirs = schema.Metric(name="N")
    theirs.properties.keys.extend(["null", "set", "list", "long"])
    theirs.properties.values.add(type=10, is_null=True)
    inner = theirs.properties.values.add(type=20).propertyset_value
    inner.keys.append("engUnit")
    inner.values.add(type=12, string_value="bar")
    several = theirs.properties.values.add(type=21).propertysets_value
    several.propertyset.add().CopyFrom(inner)
    several.propertyset.add()
    theirs.properties.values.add(type=8, long_value=2**64 - 1)
    unit = {"engUnit": codec.Property(12, "bar")}
    assert only(theirs).properties == {
        "null": codec.Property(10, None, is_null=True),
        "set": codec.Property(20, unit),
        "list": codec.Property(21, (unit, {})),
        "long": codec.Property(8, 2**64 - 1),
    }


def table() -> Any:
    theirs = schema.Metric(datatype=MetricType.DataSet)
    data_set = theirs.dataset_value
    data_set.num_of_columns = 7
    data_set.columns.extend("abcdefg")
    data_set.types.extend((1, 4, 9, 10, 11, 12, 13))
    row = data_set.rows.add()
    for name, value in (
        ("int_value", 0xFB),
        ("long_value", 2**64 - 5),
        ("float_value", 1.5),
        ("double_value", 2.5),
        ("boolean_value", True),
        ("string_value", "x"),
    ):
        setattr(row.elements.add(), name, value)
    row.elements.add()  # no value
    return theirs


@pytest.mark.tck(
    "payloads-dataset-column-size",
    "payloads-dataset-column-num-headers",
    "payloads-dataset-types-num",
    "payloads-dataset-types-def",
    "payloads-dataset-types-type",
    "payloads-dataset-types-value",
    "payloads-dataset-parameter-type-req",
    "payloads-template-dataset-value",
)
def test_tck_payloads_dataset_is_decoded() -> None:
    data_set = only(table()).resolve()
    assert isinstance(data_set, codec.DataSet)
    assert data_set.types == (1, 4, 9, 10, 11, 12, 13)
    assert data_set.table() == ((-5, -5, 1.5, 2.5, True, "x", None),)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda data_set: data_set.columns.append("more"),
        lambda data_set: data_set.types.append(3),
        lambda data_set: data_set.ClearField("num_of_columns"),
        lambda data_set: data_set.rows.add(),
        lambda data_set: data_set.types.__setitem__(0, 99),
        lambda data_set: data_set.types.__setitem__(0, 12),
    ],
)
def test_tck_payloads_dataset_whose_columns_differ_is_no_table(break_it: Any) -> None:
    theirs = table()
    break_it(theirs.dataset_value)
    data_set = only(theirs).resolve()
    assert isinstance(data_set, codec.DataSet)
    with pytest.raises(ProtocolError):
        data_set.table()


def test_types_of_columns_are_read_packed_and_one_by_one() -> None:
    """proto2 writes them one by one; proto3 libraries pack them."""
    packed, plain = b"\x1a\x03\x03\x0c\x0d", b"\x18\x03\x18\x0c\x18\x0d"
    for types in (packed, plain, plain[:2] + b"\x1a\x02\x0c\x0d"):
        (metric,) = decode(length_delimited(b"\x12", length_delimited(b"\x8a\x01", types))).metrics
        data_set = metric.resolve(MetricType.DataSet)
        assert isinstance(data_set, codec.DataSet)
        assert data_set.types == (3, 12, 13)


@pytest.mark.tck(
    "payloads-template-is-definition",
    "payloads-template-is-definition-definition",
    "payloads-template-is-definition-instance",
    "payloads-template-ref-definition",
    "payloads-template-ref-instance",
    "payloads-template-version",
    "payloads-template-definition-parameters-default",
    "payloads-template-instance-members-data",
    "payloads-template-instance-parameters",
    "payloads-template-parameter-name-required",
    "payloads-template-parameter-name-type",
    "payloads-template-parameter-value-type",
    "payloads-template-parameter-type-value",
    "payloads-template-parameter-type-req",
    "payloads-template-parameter-value",
)
def test_tck_payloads_template_is_decoded() -> None:
    theirs = schema.Metric(name="Motor", datatype=MetricType.Template)
    definition = theirs.template_value
    definition.version, definition.is_definition = "1", True
    definition.metrics.add(name="Speed", datatype=10, is_null=True)
    instance = definition.metrics.add(name="Inner", datatype=19).template_value
    instance.template_ref, instance.is_definition = "Gear", False
    instance.parameters.add(name="Teeth", type=7, int_value=2**32 - 1)
    values = ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")
    for kind, field, value in zip((3, 4, 9, 10, 11, 12), values, (4, 5, 0.5, 0.25, True, "x"), strict=True):
        setattr(definition.parameters.add(name=field, type=kind), field, value)
    definition.parameters.add(name="without default", type=12)
    template = only(theirs).resolve()
    assert isinstance(template, codec.Template)
    assert (template.version, template.is_definition, template.template_ref) == ("1", True, None)
    speed, inner = template.metrics
    assert (speed.name, speed.is_null) == ("Speed", True)
    teeth = codec.Parameter("Teeth", 7, codec.Held(10, 2**32 - 1))
    assert inner.resolve() == codec.Template(template_ref="Gear", is_definition=False, parameters=(teeth,))
    held = [one.held.scalar(MetricType(one.type)) for one in template.parameters if one.held and one.type]
    assert [one.name for one in template.parameters[:-1]] == [*values]
    assert held == [4, 5, 0.5, 0.25, True, "x"]
    assert template.parameters[-1] == codec.Parameter("without default", 12)


ARRAYS = [  # without BooleanArray and StringArray, which Tahu's Python pads in front and writes as hexadecimal digits
    (MetricType.Int8Array, [-23, 123]),
    (MetricType.Int16Array, [-30000, 30000]),
    (MetricType.Int32Array, [-1, 315338746]),
    (MetricType.Int64Array, [-(2**63), 2**63 - 1]),
    (MetricType.UInt8Array, [23, 250]),
    (MetricType.UInt16Array, [30, 52360]),
    (MetricType.UInt32Array, [52, 3293969225]),
    (MetricType.UInt64Array, [52, 2**64 - 1]),
    (MetricType.FloatArray, [0.5, -1.25]),
    (MetricType.DoubleArray, [12.354213, -1e300]),
]
SCALARS = [
    (MetricType.Int8, -5),
    (MetricType.Int16, -5),
    (MetricType.Int32, -5),
    (MetricType.Int64, -5),
    (MetricType.UInt8, 255),
    (MetricType.UInt16, 65535),
    (MetricType.UInt32, 4_000_000_000),
    (MetricType.UInt64, 2**64 - 1),
    (MetricType.Float, 1.5),
    (MetricType.Double, -1e300),
    (MetricType.Boolean, True),
    (MetricType.String, "Grüße"),
    (MetricType.Text, ""),
    (MetricType.UUID, "c0ffee00-0000-4000-8000-000000000000"),
    (MetricType.Bytes, b"\0\xff"),
    (MetricType.File, b"%PDF"),
]


@pytest.mark.parametrize(("kind", "value"), [*SCALARS, *ARRAYS])
def test_every_type_tahu_writes_is_read(kind: MetricType, value: Any) -> None:
    (metric,) = decode(schema.encode(("N", kind, value))).metrics
    assert metric.datatype == kind
    assert metric.resolve() == (tuple(value) if isinstance(value, list) else value)


def test_times_tahu_writes_are_read() -> None:
    one, several = decode(
        schema.encode(("N", MetricType.DateTime, 1486144502122), ("N", MetricType.DateTimeArray, [0, 1656107875000]))
    ).metrics
    assert str(one.resolve()) == "2017-02-03 17:55:02.122000+00:00"
    assert list(map(str, several.resolve())) == ["1970-01-01 00:00:00+00:00", "2022-06-24 21:57:55+00:00"]  # type: ignore[arg-type]


def test_all_types_are_tested() -> None:
    more = {MetricType.DateTime, MetricType.DateTimeArray, MetricType.DataSet, MetricType.Template}
    more |= {MetricType.BooleanArray, MetricType.StringArray}
    only_properties = {MetricType.PropertySet, MetricType.PropertySetList}
    assert {kind for kind, _ in (*SCALARS, *ARRAYS)} | more | only_properties == set(MetricType)


def test_unknown_fields_extensions_and_groups_are_passed_over() -> None:
    extension = b"\xa2\x06\x03abc"  # field 100
    unknown = extension + b"\xa8\x06\x01" + b"\xb1\x06" + bytes(8) + b"\xbd\x06" + bytes(4)
    group = b"\xa3\x06" + b"\x08\x01" + b"\x13\x14" + extension + b"\xa4\x06"  # with a group within
    metric = length_delimited(b"\x0a", b"N") + b"\x50\x05"
    plain = length_delimited(b"\x12", metric) + b"\x18\x07"
    strange = unknown + length_delimited(b"\x12", group + metric + unknown) + b"\x18\x07" + group
    assert decode(strange) == decode(plain)
    schema.decode(strange)  # Google's runtime agrees that it is a message


def test_extension_value_is_no_value_we_know() -> None:
    (metric,) = decode(length_delimited(b"\x12", length_delimited(b"\x9a\x01", b"\x08\x01"))).metrics
    with pytest.raises(ProtocolError):
        metric.resolve(MetricType.Double)


def test_field_of_another_wire_type_is_unknown() -> None:
    assert decode(b"\x0a\x01x\x19" + bytes(8)) == codec.Payload()


def nested(levels: int) -> bytes:
    metric = b"\x50\x01"
    for _ in range(levels):
        metric = length_delimited(b"\x92\x01", length_delimited(b"\x12", metric))
    return length_delimited(b"\x12", metric)


def property_sets(levels: int) -> bytes:
    found = b""
    for _ in range(levels):
        found = b"\x0a\x01k" + length_delimited(b"\x12", length_delimited(b"\x4a", found))
    return length_delimited(b"\x12", length_delimited(b"\x4a", found))


HARMFUL = {
    "size": bytes(MAX_BYTES + 1),
    "fields": b"\x08\x01" * (MAX_FIELDS + 1),
    "metrics": b"\x12\x00" * (MAX_FIELDS + 1),
    "unknown fields": b"\xa8\x06\x01" * (MAX_FIELDS + 1),
    "packed numbers": length_delimited(
        b"\x12", length_delimited(b"\x8a\x01", length_delimited(b"\x1a", bytes(MAX_FIELDS)))
    ),
    "rows": length_delimited(b"\x12", length_delimited(b"\x8a\x01", b"\x22\x00" * MAX_FIELDS)),
    "templates": nested(MAX_DEPTH),
    "many templates": nested(3000),
    "property sets": property_sets(MAX_DEPTH),
    "groups": b"\x0b" * (MAX_GROUPS + 1),
    "many groups": b"\x0b" * MAX_BYTES,
    "fields in a group": b"\x0b" + b"\x08\x01" * MAX_FIELDS + b"\x0c",
    "group that another ends": b"\x0b\x14",
    "group without end": b"\x0b\x08\x01",
    "end without group": b"\x0c",
    "length beyond the end": b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "endless number": b"\x08" + b"\xff" * 20,
    "field number 0": b"\x00\x01",
    "property without value": length_delimited(b"\x12", length_delimited(b"\x4a", b"\x0a\x01k")),
    "text that is no UTF-8": length_delimited(b"\x12", b"\x0a\x01\xff"),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_what_means_harm_is_a_protocol_error(what: str) -> None:
    with pytest.raises(ProtocolError):
        decode(HARMFUL[what])


def test_depth_within_the_bound_is_read() -> None:
    depth, (metric,) = 0, decode(nested(MAX_DEPTH // 2 - 1)).metrics
    while isinstance(metric.value, codec.Template):
        depth, (metric,) = depth + 1, metric.value.metrics
    assert depth == MAX_DEPTH // 2 - 1
    assert decode(property_sets(MAX_DEPTH // 2 - 2)).metrics


def test_command_of_a_thousand_metrics_is_within_the_bounds() -> None:
    data = schema.encode(*[(f"Setpoints/Temperature/Zone {n}", MetricType.Double, 1.5) for n in range(1000)])
    assert len(decode(data).metrics) == 1000


def test_memory_is_bounded() -> None:
    tracemalloc.start()
    try:
        decode(b"\x12\x00" * (MAX_FIELDS // 4 - 1))
        assert tracemalloc.get_traced_memory()[1] < 32 * MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (MetricType.Int32Array, bytes(5)),
        (MetricType.DoubleArray, bytes(9)),
        (MetricType.BooleanArray, bytes(3)),
        (MetricType.BooleanArray, struct.pack("<I", 9) + b"\xff"),
        (MetricType.BooleanArray, struct.pack("<I", 2**32 - 1)),
        (MetricType.StringArray, b"abc"),
        (MetricType.StringArray, b"\xff\0"),
        (MetricType.DateTimeArray, b"\xff" * 7 + b"\x7f"),
    ],
)
def test_bytes_that_are_no_array_are_a_protocol_error(kind: MetricType, raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.Metric(datatype=kind, value_field=16, value=raw).resolve()


@pytest.mark.parametrize(
    ("kind", "elements", "encoded"),
    [
        (MetricType.Int8Array, [-23, 123], "e97b"),
        (MetricType.Int16Array, [-30000, 30000], "d08a3075"),
        (MetricType.Int32Array, [-1, 315338746], "fffffffffaafcb12"),
        (MetricType.UInt16Array, [30, 52360], "1e0088cc"),
        (MetricType.FloatArray, [1.23, 89.341], "a4709d3f98aeb242"),
        (MetricType.StringArray, ["ABC", "hello"], "4142430068656c6c6f00"),
        (MetricType.StringArray, [], ""),
        (MetricType.BooleanArray, [bool(int(bit)) for bit in "001101001101"], "0c00000034d0"),
    ],
)
def test_arrays_of_the_specification(kind: MetricType, elements: list[Any], encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    decoded = codec.Metric(datatype=kind, value_field=16, value=raw).resolve()
    expected = pytest.approx(elements) if kind is MetricType.FloatArray else tuple(elements)
    assert decoded == expected


def test_times_of_the_specification() -> None:
    raw = bytes.fromhex("c7d0907524010000b8bab89781010000")
    decoded = codec.Metric(datatype=MetricType.DateTimeArray, value_field=16, value=raw).resolve()
    assert [int(one.timestamp() * 1000) for one in decoded] == [1256102875335, 1656107875000]  # type: ignore[union-attr]
