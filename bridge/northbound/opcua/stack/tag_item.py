"""One monitored item on a tag's value: what was asked for it, and what of it is news.

A deadband counts from the value sent last (Part 4, 7.22.2); the filter comes before the queue (5.13.1.4).
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from asyncua import ua

from bridge.northbound.opcua.stack import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.model.value import DataValue
    from bridge.northbound.opcua.stack.values import TagValue

HANDLE = struct.Struct("<I")
_ALIKE = {
    ua.DataChangeTrigger.Status: slice(wire.STATUS, wire.SOURCE),
    ua.DataChangeTrigger.StatusValue: slice(0, wire.SOURCE),
    ua.DataChangeTrigger.StatusValueTimestamp: slice(0, wire.SERVER),
}
"""Which of a value's bytes must differ for it to be news."""


@dataclasses.dataclass(slots=True)
class Wish:
    """What a client asked for an item, revised."""

    client_handle: int
    sampling_ms: float
    queue_size: int
    discards_oldest: bool
    trigger: ua.DataChangeTrigger
    deadband: float
    timestamps: ua.TimestampsToReturn

    @property
    def is_plain(self) -> bool:
        """Only the newest value, whenever it is another one, with both times: what nearly everybody asks for."""
        return (
            self.queue_size == 1
            and not self.deadband
            and self.trigger == ua.DataChangeTrigger.StatusValue
            and self.timestamps == ua.TimestampsToReturn.Both
        )


class TagItem:
    """One monitored item on a tag's value."""

    __slots__ = (
        "_due",
        "_last",
        "_monotonic",
        "_news",
        "_overflow",
        "_queue",
        "_sampled",
        "_tick",
        "direct_ms",
        "handle",
        "id",
        "mode",
        "node_id",
        "sent",
        "tag",
        "wish",
    )

    def __init__(
        self,
        identifier: int,
        node_id: ua.NodeId,
        tag: TagValue,
        wish: Wish,
        mode: ua.MonitoringMode,
        news: dict[int, TagItem],
        monotonic: Callable[[], float],
    ) -> None:
        self.id = identifier
        self.node_id = node_id
        self.tag = tag
        self.mode = mode
        self.direct_ms: float
        """Publishing intervals from this one on need no more of it than its newest bytes, if they are others."""
        self.sent: bytes | None = None
        """Of the value sent last, what makes it another one."""
        self._last: Any = None
        """The number sent last, where a deadband counts from it."""
        self._news = news
        self._monotonic = monotonic
        self._queue: deque[bytes] | None = None
        """What is to be sent, where more than the newest value is asked for."""
        self._sampled: DataValue | None = None
        """The newest value of this sampling interval: the queue gets it at the interval's end, if it is news."""
        self._tick = -1
        self._due = 0.0
        self._overflow = False
        self.wish = wish
        self.adopt(wish)

    def adopt(self, wish: Wish) -> None:
        """What the client wants from now on."""
        waiting, self._queue = self._queue, None
        if wish.queue_size == 1:
            self._sampled, self._overflow = None, False
            if waiting:  # they count as sent, and are not
                self.sent = None
        elif waiting is None:
            self._queue, self._sampled = deque(maxlen=wish.queue_size), self.tag.now
        else:
            self._queue = deque(waiting, wish.queue_size)
            self._overflow = self._overflow or len(waiting) > wish.queue_size
        if self.sent is not None and wish.trigger != self.wish.trigger:
            self.sent = None
        self.wish = wish
        self.report(self.mode)
        self.handle = HANDLE.pack(wish.client_handle)

    def report(self, mode: ua.MonitoringMode) -> None:
        """How it is monitored from now on."""
        self.mode = mode
        is_direct = mode == ua.MonitoringMode.Reporting and self.wish.is_plain
        self.direct_ms = self.wish.sampling_ms if is_direct else math.inf

    def changed(self) -> None:
        """The tag has a new value."""
        self._news[self.id] = self
        if self._queue is not None:
            tick = int(self._monotonic() * 1000 / self.wish.sampling_ms)
            if tick != self._tick:
                self._tick = tick
                self._settle(self._queue)
            self._sampled = self.tag.now

    def follow(self, value: TagValue) -> None:
        """Its node was made anew, taken out, or has come back."""
        if self._queue is not None:
            self._settle(self._queue)  # the sample is of the tag before, and would be encoded as one of this
        self.tag = value
        value.watch(self)
        self.changed()

    def _settle(self, queue: deque[bytes]) -> None:
        """The sample of the interval that has ended: the filter comes before the queue (Part 4, 5.13.1.4)."""
        sampled, self._sampled = self._sampled, None
        value = None if sampled is None else self.tag.wire_of(sampled)
        if value is None or not self._is_news(value):
            return
        if len(queue) == self.wish.queue_size:
            self._overflow = True
            if not self.wish.discards_oldest:
                queue.pop()
        queue.append(value)

    def is_due(self, now: float, publishing_ms: float) -> bool:
        """Whether it is to be looked at in this publishing cycle."""
        if self.mode != ua.MonitoringMode.Reporting or now < self._due:
            return False
        if self.wish.sampling_ms > publishing_ms:  # half a publishing interval of grace: the loop's steps are not exact
            self._due = now + (self.wish.sampling_ms - publishing_ms / 2) / 1000
        return True

    def take(self) -> list[bytes]:
        """Its notifications."""
        if self._queue is None:
            values = [self.tag.wire] if self._is_news(self.tag.wire) else []
        else:
            self._settle(self._queue)
            values = list(self._queue)
            self._queue.clear()
        if self._overflow and values:
            gap = 0 if self.wish.discards_oldest else -1
            values[gap] = wire.overflowed(values[gap])
        self._overflow = False
        return [self.handle + wire.stamped(one, self.wish.timestamps) for one in values]

    def _is_news(self, value: bytes) -> bool:
        wish, sent = self.wish, self.sent
        alike = value[_ALIKE[wish.trigger]]
        if alike == sent:
            return False
        if wish.deadband and sent is not None and not self._is_beyond(value, alike, sent):
            return False
        self.sent = alike
        self._last = wire.number(value) if wish.deadband else None
        return True

    def _is_beyond(self, value: bytes, alike: bytes, sent: bytes) -> bool:
        """Whether more differs than a number by less than the deadband."""
        before, after = self._last, wire.number(value)
        if before is None or after is None or self.wish.trigger == ua.DataChangeTrigger.Status:
            return True
        end = len(value) + wire.STATUS  # of the Variant; numbers of one type have one size
        return alike[end:] != sent[end:] or abs(after - before) > self.wish.deadband

    def forget(self) -> None:
        """Begin anew: the next value is sent, whatever was sent before."""
        self.sent = self._sampled = None
        self._due = 0.0
        self._overflow = False
        if self._queue:
            self._queue.clear()
        self.changed()

    def tell_again(self) -> None:
        """What it is now is to be sent, unless something waits to be sent anyway."""
        if self.mode == ua.MonitoringMode.Reporting and not self._queue:
            self.forget()
