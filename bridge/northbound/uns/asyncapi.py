"""The topics of a plant as an AsyncAPI 3.0 document, for whoever builds on them. Pure.

Source: AsyncAPI specification 3.0.0; Channel, Operation and Message objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.model.value import DataType
from bridge.northbound.uns.config import Preset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.transport.mqtt import BrokerConfig

Schema = dict[str, Any]

_TYPES: Mapping[DataType, Schema] = {
    DataType.Boolean: {"type": "boolean"},
    DataType.Int32: {"type": "integer"},
    DataType.UInt32: {"type": "integer"},
    DataType.Int64: {"type": "integer"},
    DataType.Double: {"type": "number"},
    DataType.String: {"type": "string"},
    DataType.DateTime: {"type": "string", "format": "date-time"},
}
_TIME = {"type": "string", "format": "date-time"}


def asyncapi(
    plant: Plant, address: Callable[[Tag], str], preset: Preset, broker: BrokerConfig, title: str, version: str
) -> Schema:
    """Every value topic of the plant as a channel that a client receives from."""
    channels, operations = {}, {}
    for machine in plant.everything():
        for tag in machine.tags:
            channels[tag.id] = {
                "address": address(tag),
                "title": tag.definition.display_name,
                "description": tag.definition.description,
                "messages": {"value": {"contentType": _content_type(preset), "payload": _payload(tag, preset)}},
                "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
            }
            operations[tag.id] = {"action": "receive", "channel": {"$ref": f"#/channels/{_escaped(tag.id)}"}}
    protocol = "secure-mqtt" if broker.tls else "mqtt"
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": _content_type(preset),
        "servers": {"broker": {"host": broker.where, "protocol": protocol}},
        "channels": channels,
        "operations": operations,
    }


def _content_type(preset: Preset) -> str:
    return "text/plain" if preset is Preset.RAW else "application/json"


def _payload(tag: Tag, preset: Preset) -> Schema:
    value = _value(tag)
    if preset is Preset.RAW:
        return value
    if preset is Preset.UMH:
        told = {"value": value, "timestamp_ms": {"type": "integer"}}
        return {"type": "object", "required": [*told], "properties": told}
    told = {
        "value": {"oneOf": [value, {"type": "null"}]},
        "timestamp": _TIME,
        "quality": {"enum": ["Good", "Uncertain", "Bad", "GoodNoData"]},
    }
    more = {"unit": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"}, "since": _TIME}
    return {"type": "object", "required": [*told], "properties": {**told, **more}}


def _value(tag: Tag) -> Schema:
    one = tag.definition
    schema = dict(_TYPES[one.data_type])
    if one.unit is not None and one.unit.symbol:
        schema["x-unit"] = one.unit.symbol
    if one.eu_range is not None:
        schema |= {"x-low": one.eu_range.low, "x-high": one.eu_range.high}
    if one.enumeration:
        schema["x-enum"] = dict(one.enumeration)
    return schema


def _escaped(key: str) -> str:
    """A key within a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
