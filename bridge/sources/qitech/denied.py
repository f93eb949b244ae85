"""What must never be sent to a QiTech panel: what ends its control process, or rewrites its hardware's identity.

A mutation is what serde reads, so it is looked at in every shape that serde takes:

    {"SetX": content}   "SetX"   {"action": "SetX", "value": content}   {"type": "SetX", "payload": content}
    {"measurement_rate_hz": 10}

Anything of another shape is denied: serde would also read a struct from an array by position, which hides its names.
Source: facts of 2.14 to 3.0.0 (todo!(), index out of bounds, division by zero in machines/src); recorded crashes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

DENIED: Final[Mapping[str, str]] = {
    "SetPullerTargetDiameter": "it ends the panel's control process",
    "SetPullerAdaptiveReferenceMachine": "an unknown machine in it ends the panel's control process",
    "SetBufferMode": "it ends the panel's control process",
    "write_machine_device_identification": "it rewrites the identity of the hardware",
    "device_machine_identification": "it rewrites the identity of the hardware",
    "hardware_identification_ethercat": "it rewrites the identity of the hardware",
}
"""Names that may stand nowhere in a mutation, and why."""

RATE: Final = "measurement_rate_hz"
"""The one mutation that has no variants; 0 or less divides by zero."""

SWITCHBOARD: Final = 65
"""wago_8ch_io_test_machine: takes the index of SetOutput as it comes."""

OUTPUTS: Final = 8
"""Outputs of that machine."""

TAGS: Final = (("action", "value"), ("type", "payload"))
"""Adjacent tagging: the keys of the variant's name and of its content."""


class Variant(NamedTuple):
    """What a mutation does, whatever its tagging; a plain struct has its key as its name."""

    name: str
    content: Any


def encoded(payload: Any) -> bytes:
    """A mutation as JSON (RFC 8259): what is checked is what is sent. Raises ValueError with a sentence."""
    try:
        body = json.dumps(payload, allow_nan=False, separators=(",", ":")).encode()
        orjson.loads(body)
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: NaN, a circle, half a surrogate pair
        raise ValueError(f"the mutation is not JSON: {error}") from error
    return body


def denial(machine: int, body: bytes) -> str:
    """Why this mutation must never be sent to a machine of this number; "" if it may."""
    mutation = orjson.loads(body)
    variant = variant_of(mutation)
    if variant is None:
        return "it has none of the shapes a panel reads"
    for name in _names(mutation):
        if name in DENIED:
            return f"{name}: {DENIED[name]}"
    if RATE in _names(mutation) and not _is_rate(mutation):
        return f"{RATE} must be a number above 0: else it ends the panel's control process"
    if machine == SWITCHBOARD and variant.name == "SetOutput" and not _is_output(variant.content):
        return f"SetOutput takes an index of 0 to {OUTPUTS - 1}: another one ends the panel's control process"
    return ""


def variant_of(mutation: Any) -> Variant | None:
    """The variant in any of serde's taggings; None for another shape."""
    if isinstance(mutation, str):
        return Variant(mutation, None)
    if not isinstance(mutation, dict):
        return None
    for tag, content in TAGS:
        if isinstance(mutation.get(tag), str) and mutation.keys() <= {tag, content}:
            return Variant(mutation[tag], mutation.get(content))
    return Variant(*next(iter(mutation.items()))) if len(mutation) == 1 else None


def _names(mutation: Any) -> Iterator[str]:
    """Every key and every text, however deep: JSON that was read is not too deep to walk."""
    remaining = [mutation]
    while remaining:
        part = remaining.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part
            remaining += part.values()
        elif isinstance(part, list):
            remaining += part


def _is_rate(mutation: Any) -> bool:
    """Exactly {"measurement_rate_hz": a number above 0}."""
    rate = mutation.get(RATE) if isinstance(mutation, dict) else None
    return isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0


def _is_output(content: Any) -> bool:
    index = content.get("index") if isinstance(content, dict) else None
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < OUTPUTS
