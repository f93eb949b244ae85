"""Sparkplug data types, and which of them our tags become. Pure.

Source: Sparkplug 3.0, 6.4.16. Int8, Int16 and UInt32 are not what a tag becomes: decoders disagree about them.
"""

from __future__ import annotations

from enum import IntEnum

from bridge.model.value import DataType


class MetricType(IntEnum):
    """The data types of metrics and properties, by their numbers on the wire."""

    Int8 = 1
    Int16 = 2
    Int32 = 3
    Int64 = 4
    UInt8 = 5
    UInt16 = 6
    UInt32 = 7
    UInt64 = 8
    Float = 9
    Double = 10
    Boolean = 11
    String = 12
    DateTime = 13
    Text = 14
    UUID = 15
    DataSet = 16
    Bytes = 17
    File = 18
    Template = 19
    PropertySet = 20
    PropertySetList = 21
    Int8Array = 22
    Int16Array = 23
    Int32Array = 24
    Int64Array = 25
    UInt8Array = 26
    UInt16Array = 27
    UInt32Array = 28
    UInt64Array = 29
    FloatArray = 30
    DoubleArray = 31
    BooleanArray = 32
    StringArray = 33
    DateTimeArray = 34


METRIC_TYPES = {
    DataType.Boolean: MetricType.Boolean,
    DataType.Int32: MetricType.Int32,
    DataType.UInt32: MetricType.Int64,
    DataType.Int64: MetricType.Int64,
    DataType.Double: MetricType.Double,
    DataType.String: MetricType.String,
    DataType.DateTime: MetricType.DateTime,
}
"""What each tag type is sent as."""

INTEGER_BITS = {
    MetricType.Int8: 8,
    MetricType.Int16: 16,
    MetricType.Int32: 32,
    MetricType.Int64: 64,
    MetricType.UInt8: 8,
    MetricType.UInt16: 16,
    MetricType.UInt32: 32,
    MetricType.UInt64: 64,
}

SIGNED = frozenset({MetricType.Int8, MetricType.Int16, MetricType.Int32, MetricType.Int64})
