"""The requests clients repeat for ever, Publish and Read, and their responses: bytes in, bytes out, pure.

What is not exactly the everyday form gives None, and is decoded by asyncua. Source: OPC UA Part 4, 5.11.2 and 5.14.5;
Part 6, 5.2. The same bytes as asyncua's, by tests/northbound/opcua/test_services.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import Primitives, nodeid_from_binary, nodeid_to_binary

from bridge.northbound.opcua.stack.wire import ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

_IDS = ua.ObjectIds
PUBLISH = ua.NodeId(_IDS.PublishRequest_Encoding_DefaultBinary)
READ = ua.NodeId(_IDS.ReadRequest_Encoding_DefaultBinary)
_PUBLISH, _READ = nodeid_to_binary(PUBLISH), nodeid_to_binary(READ)
_PUBLISHED = nodeid_to_binary(ua.NodeId(_IDS.PublishResponse_Encoding_DefaultBinary))
_HAS_READ = nodeid_to_binary(ua.NodeId(_IDS.ReadResponse_Encoding_DefaultBinary))
_DATA_CHANGE = nodeid_to_binary(ua.NodeId(_IDS.DataChangeNotification_Encoding_DefaultBinary)) + b"\x01"

_REQUEST = struct.Struct("<qIIi")
"""Timestamp, handle, diagnostics wanted, length of the audit entry's id."""
_AFTER_AUDIT = struct.Struct("<I3s")
"""Timeout hint, additional header."""
_COUNT = struct.Struct("<i")
_ACKNOWLEDGEMENT = struct.Struct("<II")
_RESPONSE = struct.Struct("<qIIBi3s")
_READ_HEAD = struct.Struct("<dii")
_MESSAGE = struct.Struct("<?IqI")
NOTHING = b"\x00\x00\x00"
"""An ExtensionObject of no type."""
MAX_ACKNOWLEDGEMENTS = 1000


@dataclass(slots=True)
class Parked:
    """A Publish request that waits for something to be published. Stands in for asyncua's `PublishRequestData`."""

    RequestHandle: int
    TimeoutHint: int
    RequestId: int
    results: Sequence[int] = ()
    """Status codes of its acknowledgements."""
    timestamp: float = field(default_factory=monotonic)

    @property
    def requesthdr(self) -> Parked:
        """Has the handle."""
        return self

    @property
    def seqhdr(self) -> Parked:
        """Has the id."""
        return self

    def has_timed_out(self, now: float) -> bool:
        """The client no longer waits."""
        return self.TimeoutHint != 0 and self.TimeoutHint / 1000 < now - self.timestamp


@dataclass(frozen=True, slots=True)
class Asked:
    """The header of a request, as far as it matters, and what comes after it."""

    handle: int
    timeout: int
    parameters: bytes


class Reader:
    """Recognizes the two requests of one session by their first bytes: type and authentication token."""

    def __init__(self, token: ua.NodeId) -> None:
        self.token = token
        encoded = nodeid_to_binary(token)
        self._publish, self._read = _PUBLISH + encoded, _READ + encoded

    def publish(self, body: bytes) -> Asked | None:
        """The request, if it is a Publish."""
        return _asked(body, len(self._publish)) if body.startswith(self._publish) else None

    def read(self, body: bytes) -> Asked | None:
        """The request, if it is a Read."""
        return _asked(body, len(self._read)) if body.startswith(self._read) else None


def _asked(body: bytes, at: int) -> Asked | None:
    try:
        _, handle, _, audit = _REQUEST.unpack_from(body, at)
        at += _REQUEST.size + max(0, audit)
        timeout, additional = _AFTER_AUDIT.unpack_from(body, at)
    except struct.error:
        return None
    return Asked(handle, timeout, body[at + _AFTER_AUDIT.size :]) if additional == NOTHING else None


def acknowledgements(parameters: bytes) -> list[tuple[int, int]] | None:
    """Subscription and sequence number of each; None if these are not the parameters of a Publish."""
    count = _COUNT.unpack_from(parameters)[0] if len(parameters) >= _COUNT.size else None
    if count is None or count > MAX_ACKNOWLEDGEMENTS or len(parameters) != _COUNT.size + 8 * max(0, count):
        return None
    return list(_ACKNOWLEDGEMENT.iter_unpack(parameters[_COUNT.size :]))


class ReadHead(NamedTuple):
    """How the parameters of a Read begin."""

    max_age: float
    timestamps: int
    nodes: int


def read_head(parameters: bytes) -> ReadHead | None:
    """The beginning, if there is one."""
    return ReadHead._make(_READ_HEAD.unpack_from(parameters)) if len(parameters) >= _READ_HEAD.size else None


def _header(type_id: bytes, handle: int, now: datetime) -> bytes:
    return type_id + _RESPONSE.pack(ticks(now), handle, 0, 0, 0, NOTHING)


def read_response(handle: int, results: Sequence[bytes], now: datetime | None = None) -> bytes:
    """A ReadResponse with these encoded DataValues."""
    head = _header(_HAS_READ, handle, now or datetime.now(UTC))
    return b"".join((head, _COUNT.pack(len(results)), *results, _COUNT.pack(0)))


def data_changes(parts: Sequence[bytes], count: int) -> bytes:
    """A DataChangeNotification as an ExtensionObject; `parts` joined are `count` MonitoredItemNotifications."""
    body = b"".join((_COUNT.pack(count), *parts, _COUNT.pack(0)))
    return _DATA_CHANGE + _COUNT.pack(len(body)) + body


@dataclass(slots=True)
class Message:
    """A NotificationMessage: what is sent, and sent once more by Republish."""

    subscription: int
    sequence: int
    time: datetime
    notifications: Sequence[bytes]
    """Encoded ExtensionObjects."""
    more: bool = False
    available: Sequence[int] = ()

    @property
    def size(self) -> int:
        """Bytes of its notifications."""
        return sum(map(len, self.notifications))

    def again(self) -> ua.NotificationMessage:
        """For Republish, which asyncua encodes: to the same bytes."""
        return ua.NotificationMessage(self.sequence, self.time, [_undone(one) for one in self.notifications])

    def response(self, handle: int, results: Sequence[int], now: datetime | None = None) -> bytes:
        """The PublishResponse that carries it, with the results of the request's acknowledgements."""
        available = self.available
        return b"".join(
            (
                _header(_PUBLISHED, handle, now or datetime.now(UTC)),
                struct.pack(f"<Ii{len(available)}I", self.subscription, len(available), *available),
                _MESSAGE.pack(self.more, self.sequence, ticks(self.time), len(self.notifications)),
                *self.notifications,
                struct.pack(f"<i{len(results)}Ii", len(results), *results, 0),
            )
        )


def _undone(data: bytes) -> ua.ExtensionObject:
    buffer = Buffer(data)
    type_id = nodeid_from_binary(buffer)
    buffer.skip(1)
    return ua.ExtensionObject(TypeId=type_id, Body=Primitives.Bytes.unpack(buffer))
