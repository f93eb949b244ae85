"""Bounds on what a few bytes may make asyncua's decoder do. Applied once, for the whole process.

Each is stricter than asyncua and accepts everything a sane peer sends, so clients in this process are not hurt.
What all lists of one request may have together is bounded for our own server's requests only (`budget`).
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData, ServiceError
from asyncua.server import uaprocessor
from asyncua.ua import ua_binary

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ELEMENTS = 10_000
"""Elements of an array in a Variant, and what its dimensions may declare. We serve scalars and a few short arrays."""

_read = Buffer.read
_skip = Buffer.skip
_list_deserializer = ua_binary._create_list_deserializer
_array_deserializer = ua_binary._create_uatype_array_deserializer
_CACHED = ("_create_type_deserializer", "_create_dataclass_deserializer", "_create_uatype_deserializer")
"""Where deserializers that were made before are kept; they hold those of their lists."""


class Budget:
    """How many elements (not numbers) one request's lists may still have together: each costs microseconds."""

    __slots__ = ("left",)

    def __init__(self, elements: int) -> None:
        self.left = elements

    def spend(self, elements: int) -> None:
        """Raises UaError when there is nothing left."""
        self.left -= max(0, elements)
        if self.left < 0:
            raise ua.UaError("The lists of this request have more elements than any here")


BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)


def install() -> None:
    """Put the bounds in place; doing it again changes nothing."""
    if ua_binary._create_list_deserializer is _list_deserializer:
        ua_binary._create_list_deserializer = _bounded(_list_deserializer)
        ua_binary._create_uatype_array_deserializer = _bounded(_array_deserializer)
        for name in _CACHED:
            getattr(ua_binary, name).cache_clear()
    ua_binary.MAX_RESHAPE_ELEMENTS = MAX_ELEMENTS
    ua_binary.unpack_uatype_array = _unpack_bounded_array
    uaprocessor.struct_from_binary = decode
    Buffer.read = _read_forward
    Buffer.skip = _skip_forward


def decode(kind: type, data: Buffer) -> Any:
    """The parameters of a request. Raises ServiceError BadDecodingError for bytes that are none.

    asyncua raises ten kinds of errors for them, and answers BadInternalError with a traceback in the log.
    """
    try:
        return ua_binary.struct_from_binary(kind, data)
    except Exception as error:
        raise ServiceError(ua.StatusCodes.BadDecodingError) from error


def _bounded(factory: Callable[[Any], Callable[[Any], Any]]) -> Callable[[Any], Callable[[Any], Any]]:
    """Deserializers of lists that look at the declared length before they make anything."""

    @functools.cache
    def make(element: Any) -> Callable[[Any], Any]:
        inner = factory(element)
        if hasattr(ua_binary.Primitives1, getattr(element, "name", "")):
            return inner  # numbers are unpacked all at once, and only as many as there are bytes

        def deserialize(data: Any) -> Any:
            budget = BUDGET.get()
            if budget is not None:
                budget.spend(_length(data))
            return inner(data)

        return deserialize

    return make


def _length(data: Any) -> int:
    return int.from_bytes(data.copy(4).read(4), "little", signed=True)


def _unpack_bounded_array(vtype: ua.VariantType, data: Any) -> list[Any] | None:
    if vtype == ua.VariantType.Null:
        raise ua.UaError("An array of Null elements takes no bytes and may have any length")
    length = _length(data)
    if length > MAX_ELEMENTS:
        raise ua.UaError(f"An array of {length} elements is longer than any here")
    return ua_binary._create_uatype_array_deserializer(vtype)(data)


def _read_forward(self: Buffer, size: int) -> bytes:
    # A string of length -4 would put the cursor back before its own length, and be read again for ever.
    if size < 0:
        raise NotEnoughData(f"A length of {size}")
    return _read(self, size)


def _skip_forward(self: Buffer, size: int) -> None:
    if size < 0:
        raise NotEnoughData(f"A length of {size}")
    _skip(self, size)
