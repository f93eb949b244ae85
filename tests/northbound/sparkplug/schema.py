"""Sparkplug payloads as Eclipse Tahu's schema and Google's runtime understand them: a decoder that is not ours.

Tahu's Python code comes as the package `sparkplug-b-packets`, the only one of its kind that installs beside us:
pysparkplug wants paho-mqtt before 2, aiomqtt a later one; `tahu`, `tahutils` and `mqtt-spb-wrapper` want old runtimes.
It registers `sparkplug_b.proto` in the one descriptor pool of the process: no second library may do so.
"""

from __future__ import annotations

from typing import Any

from sparkplub_b_packets.core import array_packer
from sparkplub_b_packets.core import sparkplug_b as tahu  # type: ignore[import-untyped]
from sparkplub_b_packets.core.sparkplug_b_pb2 import Payload  # type: ignore[import-untyped]

_ARRAYS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float", "double")
_PACK = {
    number: getattr(array_packer, f"convert_to_packed_{name}_array")
    for number, name in (*enumerate(_ARRAYS, 22), (34, "datetime"))
}
"""Tahu's packers by data type; its `addMetric` does not know the numbers of arrays."""

Metric: Any = Payload.Metric


def decode(data: bytes) -> Any:
    """A payload, decoded by Google's runtime."""
    return Payload.FromString(data)


def encode(*metrics: tuple[str, int, Any], timestamp: int | None = None) -> bytes:
    """A payload of (name, type, value), written by Tahu; DateTime in milliseconds."""
    payload = Payload()
    if timestamp is not None:
        payload.timestamp = timestamp
    for name, kind, value in metrics:
        if kind in _PACK:
            payload.metrics.add(name=name, timestamp=1, datatype=kind, bytes_value=_PACK[kind](value))
        else:
            tahu.addMetric(payload, name, None, kind, value, 1)
    return bytes(payload.SerializeToString())
