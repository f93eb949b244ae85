"""Sparkplug's payload as Google's Protocol Buffers runtime understands it: a second decoder, not ours.

Field numbers and types as in Sparkplug 3.0, 6.4; built here, since package and file names are not on the wire.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

F = FieldDescriptorProto
U32, U64, FLT, DBL, BOOL, STR, BYT, MSG = (
    F.TYPE_UINT32,
    F.TYPE_UINT64,
    F.TYPE_FLOAT,
    F.TYPE_DOUBLE,
    F.TYPE_BOOL,
    F.TYPE_STRING,
    F.TYPE_BYTES,
    F.TYPE_MESSAGE,
)
VALUES = (("int_value", U32), ("long_value", U64), ("float_value", FLT), ("double_value", DBL), ("boolean_value", BOOL))

MESSAGES: dict[str, list[tuple[Any, ...]]] = {
    "PropertyValue": [("type", 1, U32), ("is_null", 2, BOOL)]
    + [(name, number, kind, "value") for number, (name, kind) in enumerate((*VALUES, ("string_value", STR)), 3)],
    "PropertySet": [("keys", 1, STR, "*"), ("values", 2, "PropertyValue", "*")],
    "Metric": [
        ("name", 1, STR),
        ("alias", 2, U64),
        ("timestamp", 3, U64),
        ("datatype", 4, U32),
        ("is_historical", 5, BOOL),
        ("is_transient", 6, BOOL),
        ("is_null", 7, BOOL),
        ("properties", 9, "PropertySet"),
    ]
    + [
        (name, number, kind, "value")
        for number, (name, kind) in enumerate((*VALUES, ("string_value", STR), ("bytes_value", BYT)), 10)
    ],
    "Payload": [
        ("timestamp", 1, U64),
        ("metrics", 2, "Metric", "*"),
        ("seq", 3, U64),
        ("uuid", 4, STR),
        ("body", 5, BYT),
    ],
}


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="second_decoder.proto", package="second_decoder", syntax="proto2")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, *rest in fields:
            one = message.field.add(name=name, number=number, label=F.LABEL_OPTIONAL)
            if isinstance(kind, str):
                one.type, one.type_name = MSG, f".second_decoder.{kind}"
            else:
                one.type = kind
            if rest == ["*"]:
                one.label = F.LABEL_REPEATED
            elif rest:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=rest[0])
                one.oneof_index = 0
    return file


_pool = DescriptorPool()
_pool.Add(_file())

Payload: Any = GetMessageClass(_pool.FindMessageTypeByName("second_decoder.Payload"))
Metric: Any = GetMessageClass(_pool.FindMessageTypeByName("second_decoder.Metric"))


def decode(data: bytes) -> Any:
    """A payload, decoded by Google's runtime."""
    return Payload.FromString(data)
