"""The value attribute of a tag's node, and the writer that fills thousands of them without an await.

    feed batch -> TagValues.write -> TagValue.set -> watchers (monitored items), if there are any

A DataValue is turned into bytes, or into asyncua's form, when somebody asks for it, once, however many ask: 30 000
updates a second that nobody reads cost one attribute each.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from bridge.northbound.opcua import convert
from bridge.northbound.opcua.stack import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asyncua import ua

    from bridge.model.value import DataType, DataValue

CHUNK = 500
"""Values written before the loop may turn; 500 take well under a millisecond."""


class Watcher(Protocol):
    """Wants to know that a value changed."""

    def changed(self) -> None:
        """Called on the loop, inside the writer: be quick."""


@runtime_checkable
class Reader(Watcher, Protocol):
    """A client's item: it outlives the node it looks at, and goes on with the one that comes back."""

    def follow(self, value: TagValue) -> None:
        """Watch this one from now on, instead of the one before."""


class TagValue:
    """Stands where asyncua keeps an `AttributeValue`; has the four attributes its readers use."""

    __slots__ = ("_sent", "encode", "made", "now", "watchers")

    value_callback: ClassVar[None] = None
    value_setter: ClassVar[None] = None
    datachange_callbacks: ClassVar[Mapping[int, Any]] = MappingProxyType({})
    """Never filled: monitored items of tags are watchers (see subscription.py); asyncua's own way would raise."""

    def __init__(self, now: DataValue, encode: Callable[[DataValue], bytes]) -> None:
        self.now = now
        self.encode = encode
        self.watchers: list[Watcher] | None = None
        self._sent: ua.DataValue | None = None
        self.made: bytes | None = None
        """What `wire` gives, if somebody has asked for it."""

    @property
    def value(self) -> ua.DataValue:
        """The current value in asyncua's form. Shared: never changed once made."""
        sent = self._sent
        if sent is None:
            sent = self._sent = self._convert(self.now)
        return sent

    @property
    def wire(self) -> bytes:
        """The current value as it is sent, with both times."""
        data = self.made
        if data is None:
            data = self.made = self.encode(self.now)
        return data

    def wire_of(self, then: DataValue) -> bytes:
        """An earlier value as it is sent."""
        return self.wire if then is self.now else self.encode(then)

    def set(self, now: DataValue) -> None:
        """A new value."""
        self.now = now
        self._sent = self.made = None
        if self.watchers:
            for watcher in self.watchers:
                watcher.changed()

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` about changes."""
        if self.watchers is None:
            self.watchers = []
        self.watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no longer."""
        if self.watchers and watcher in self.watchers:
            self.watchers.remove(watcher)
            self.watchers = self.watchers or None

    def hand_over(self, value: TagValue) -> None:
        """The node is made anew, with this value: clients' items go on with it."""
        for watcher in list(self.watchers or ()):
            if isinstance(watcher, Reader):
                self.unwatch(watcher)
                watcher.follow(value)

    @property
    def readers(self) -> int:
        """Monitored items that are told of changes, of its mirrors as well."""
        return sum(one.readers if isinstance(one, TagValue) else 1 for one in self.watchers or ())

    def _convert(self, now: DataValue) -> ua.DataValue:
        raise NotImplementedError


class PlainValue(TagValue):
    """A tag's own value."""

    __slots__ = ("data_type",)

    def __init__(self, now: DataValue, data_type: DataType) -> None:
        super().__init__(now, wire.ENCODERS[data_type])
        self.data_type = data_type

    def _convert(self, now: DataValue) -> ua.DataValue:
        return convert.data_value(now, self.data_type)


class Mirror(TagValue):
    """Another look at a tag's value: the text of an enumeration, the state of a machine."""

    __slots__ = ("_how", "_original")

    def __init__(self, original: TagValue, how: Callable[[DataValue], ua.DataValue]) -> None:
        super().__init__(original.now, lambda now: wire.encoded(how(now)))
        self._original = original
        self._how = how
        original.watch(self)

    def changed(self) -> None:
        """The original changed."""
        self.set(self._original.now)

    def _convert(self, now: DataValue) -> ua.DataValue:
        return self._how(now)


class TagValues:
    """The value attributes by slot: where the feed's batches go."""

    def __init__(self) -> None:
        self._by_slot: dict[int, TagValue] = {}
        self.written_total = 0

    def __len__(self) -> int:
        return len(self._by_slot)

    def get(self, slot: int) -> TagValue | None:
        """The value attribute of `slot`."""
        return self._by_slot.get(slot)

    def bind(self, slot: int, value: TagValue) -> None:
        """Values of `slot` go to `value` from now on."""
        self._by_slot[slot] = value

    def release(self, slot: int) -> None:
        """No more values for this slot."""
        self._by_slot.pop(slot, None)

    async def write(self, values: Mapping[int, DataValue]) -> None:
        """Put a batch in place, letting the loop turn after every CHUNK."""
        pairs = iter(values.items())
        for _ in range(0, len(values), CHUNK):
            self._put(islice(pairs, CHUNK))
            await asyncio.sleep(0)
        self.written_total += len(values)

    def _put(self, pairs: Iterable[tuple[int, DataValue]]) -> None:
        """As `TagValue.set` of each, whose call would cost as much as what it does."""
        find = self._by_slot.get
        for slot, now in pairs:
            target = find(slot)
            if target is not None:
                target.now = now
                target._sent = target.made = None
                if target.watchers:
                    for watcher in target.watchers:
                        watcher.changed()
