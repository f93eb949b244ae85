"""Sparkplug payloads of the namespace spBv1.0 to and from bytes: the one place that knows how version 3.0 is written.

Whoever speaks Sparkplug says names, values and milliseconds, and gets bytes; nobody outside looks into the modules of
this package. Another version of the namespace (4.0: nanoseconds, signed integers, new verbs) is another package with
these names.

Pure; no schema compiler and no Protocol Buffers runtime. Source: Sparkplug 3.0, chapter 6 (sparkplug_b.proto).
"""

from bridge.northbound.sparkplug.codec.datatype import METRIC_TYPES, MetricType
from bridge.northbound.sparkplug.codec.decode import MAX_BYTES, MAX_DEPTH, MAX_FIELDS, decode
from bridge.northbound.sparkplug.codec.encode import (
    ENCODED_TYPES,
    MetricEncoder,
    is_absent,
    payload,
    property_set,
    stamp,
)
from bridge.northbound.sparkplug.codec.received import (
    DataSet,
    Held,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
)

NAMESPACE = "spBv1.0"
"""The first level of every topic of this version."""

__all__ = [
    "ENCODED_TYPES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_FIELDS",
    "METRIC_TYPES",
    "NAMESPACE",
    "DataSet",
    "Held",
    "MetaData",
    "Metric",
    "MetricEncoder",
    "MetricType",
    "Parameter",
    "Payload",
    "Property",
    "Template",
    "decode",
    "is_absent",
    "payload",
    "property_set",
    "stamp",
]
