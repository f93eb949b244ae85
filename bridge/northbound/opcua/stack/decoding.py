"""Bounds on what a few bytes may make asyncua's decoder do. Applied once, for the whole process.

Each is stricter than asyncua and accepts everything a sane peer sends, so clients in this process are not hurt.
"""

from __future__ import annotations

from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import ua_binary

MAX_ELEMENTS = 10_000
"""Elements of an array in a Variant, and what its dimensions may declare. We serve scalars and a few short arrays."""

_read = Buffer.read
_skip = Buffer.skip
_unpack_array = ua_binary.unpack_uatype_array


def install() -> None:
    """Put the bounds in place; doing it again changes nothing."""
    ua_binary.MAX_RESHAPE_ELEMENTS = MAX_ELEMENTS
    ua_binary.unpack_uatype_array = _unpack_bounded_array
    Buffer.read = _read_forward
    Buffer.skip = _skip_forward


def _unpack_bounded_array(vtype: ua.VariantType, data: Any) -> list[Any] | None:
    if vtype == ua.VariantType.Null:
        raise ua.UaError("An array of Null elements takes no bytes and may have any length")
    length = int.from_bytes(data.copy(4).read(4), "little", signed=True)
    if length > MAX_ELEMENTS:
        raise ua.UaError(f"An array of {length} elements is longer than any here")
    return _unpack_array(vtype, data)


def _read_forward(self: Buffer, size: int) -> bytes:
    # A string of length -4 would put the cursor back before its own length, and be read again for ever.
    if size < 0:
        raise NotEnoughData(f"A length of {size}")
    return _read(self, size)


def _skip_forward(self: Buffer, size: int) -> None:
    if size < 0:
        raise NotEnoughData(f"A length of {size}")
    _skip(self, size)
