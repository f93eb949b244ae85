"""HistoryRead: what tags have been, and what happened (Part 11, 6.4.2 and 6.4.3).

    request -> each node: tag with a history -> hub's history · Server or machine -> hub's log of events -> a page

A continuation point says itself where the next page begins, so none is kept, none runs out, and releasing is nothing;
the client repeats its question with it (Part 4, 5.10.3). Start belongs to the interval and end does not, unless bounds
are asked for; end before start, or no start, reads backwards.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from bridge.errors import HistoryUnreadable
from bridge.model.history import Continuation
from bridge.model.value import from_milliseconds, to_milliseconds
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.stack.data_encoding import is_wanted
from bridge.northbound.opcua.stack.history import MAX_VALUES, Refused
from bridge.northbound.opcua.tree import OWN, standard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.model.history import HistoricValue, RecordedEvent
    from bridge.model.tag import Tag
    from bridge.northbound.opcua.events import EventTypes
    from bridge.northbound.opcua.stack.event_filter import Answer, CompiledFilter
    from bridge.ports import History, TagView

MAX_SCANNED: Final = 5000
"""Events looked at for one page: a where clause may want none of them."""
AT_ONCE: Final = 200
"""Events asked of the log at least: whoever wants one in a thousand must not cost a thousand questions."""

_CODES = ua.StatusCodes
_UNSPECIFIED = datetime(1601, 1, 2, tzinfo=UTC)
_POINT = struct.Struct("<cqqIB")
_VALUES, _EVENTS = b"v", b"e"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a reading goes on. `served`: values given so far; `is_at_end`: only the bound there is left."""

    kind: bytes
    after: Continuation
    served: int
    is_at_end: bool = False

    def pack(self) -> bytes:
        """As a client gets it."""
        return _POINT.pack(self.kind, *self.after, min(self.served, 2**32 - 1), self.is_at_end)

    @classmethod
    def unpack(cls, point: bytes | None, kind: bytes) -> Point | None:
        """What `pack` gave, None for none. Raises Refused."""
        if not point:
            return None
        if len(point) != _POINT.size or point[:1] != kind:
            raise Refused(_CODES.BadContinuationPointInvalid)
        _, time_ms, position, served, is_at_end = _POINT.unpack(point)
        return cls(kind, Continuation(time_ms, position), served, bool(is_at_end))


@dataclass(frozen=True, slots=True)
class Interval:
    """The time asked for. `first` is where reading begins, `last` where it ends; None: without end."""

    first: datetime
    last: datetime | None
    is_backward: bool
    count: int

    @classmethod
    def of(cls, start: datetime | None, end: datetime | None, count: int) -> Interval:
        """Two of the three must be given. Raises Refused."""
        first, last = _moment(start), _moment(end)
        if sum((first is not None, last is not None, count > 0)) < 2:
            raise Refused(_CODES.BadHistoryOperationInvalid)
        if first is None:
            assert last is not None  # noqa: S101 - two of three
            return cls(last, None, True, count)
        return cls(first, last, last is not None and last < first, count)

    @property
    def is_counted(self) -> bool:
        """Only the count ends it, over all pages."""
        return self.last is None

    @property
    def beginning(self) -> Continuation:
        """Before everything, in the order of reading."""
        return Continuation(2**63 - 1, 2**63 - 1) if self.is_backward else Continuation(-(2**63), -(2**63))

    def between(self, *, with_end: bool) -> tuple[datetime | None, datetime | None]:
        """From and to, both included, in whole milliseconds."""
        first, last = self.first, self.last
        if last is None:
            return (None, first) if self.is_backward else (_up(first), None)
        if with_end or first == last:
            return (_up(last), first) if self.is_backward else (_up(first), last)
        tick = timedelta(microseconds=1)
        return (_up(last + tick), first) if self.is_backward else (_up(first), last - tick)


def _moment(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None if aware < _UNSPECIFIED else aware


def _up(moment: datetime) -> datetime:
    """The next whole millisecond: what is stored has no finer times."""
    return moment if not moment.microsecond % 1000 else from_milliseconds(to_milliseconds(moment) + 1)


class HistoryReads:
    """Answers HistoryRead (see `bridge.northbound.opcua.stack.history.HistoryRoom`)."""

    def __init__(self, view: TagView, types: EventTypes, compiled: Callable[[Any], Answer]) -> None:
        self._view = view
        self._types = types
        self._compiled = compiled

    async def read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """One result per node, in order."""
        return [await self._one(node, params, MAX_VALUES // len(params.NodesToRead)) for node in params.NodesToRead]

    async def _one(
        self, node: ua.HistoryReadValueId, params: ua.HistoryReadParameters, room: int
    ) -> ua.HistoryReadResult:
        try:
            if params.ReleaseContinuationPoints:
                return ua.HistoryReadResult()
            if isinstance(params.HistoryReadDetails, ua.ReadRawModifiedDetails):
                return await self._values(node, params.HistoryReadDetails, params.TimestampsToReturn, room)
            if isinstance(params.HistoryReadDetails, ua.ReadEventDetails):
                return await self._events(node, params.HistoryReadDetails, room)
        except Refused as refused:
            return ua.HistoryReadResult(StatusCode=ua.StatusCode(refused.code))
        except HistoryUnreadable:
            return ua.HistoryReadResult(StatusCode=ua.StatusCode(_CODES.BadResourceUnavailable))
        return ua.HistoryReadResult(StatusCode=ua.StatusCode(_CODES.BadHistoryOperationUnsupported))

    # --- values ------------------------------------------------------------------------------------------------------

    async def _values(
        self, node: ua.HistoryReadValueId, asked: ua.ReadRawModifiedDetails, stamps: ua.TimestampsToReturn, room: int
    ) -> ua.HistoryReadResult:
        history, tag = self._view.history, self._tag(node.NodeId)
        if tag is None or history is None or not tag.definition.history or asked.IsReadModified:
            raise Refused(_CODES.BadHistoryOperationUnsupported)
        if node.IndexRange:
            raise Refused(_CODES.BadIndexRangeNoData)
        if is_wanted(node.DataEncoding):  # for structures only, which tags are not
            raise Refused(_CODES.BadDataEncodingInvalid)
        interval = Interval.of(asked.StartTime, asked.EndTime, asked.NumValuesPerNode)
        point = Point.unpack(node.ContinuationPoint, _VALUES)
        page = _ValuePage(history, tag, interval, min(room, interval.count or room))
        values, after = await (page.bounded(point) if asked.ReturnBounds else page.plain(point))
        status = _CODES.Good if values or after else _CODES.GoodNoData
        shown = ua.HistoryData([_stamped(one, stamps) for one in values])
        return ua.HistoryReadResult(ua.StatusCode(status), after.pack() if after else None, shown)

    def _tag(self, node_id: ua.NodeId) -> Tag | None:
        if node_id.NamespaceIndex != OWN or not isinstance(node_id.Identifier, str):
            return None
        return self._view.plant.find(node_id.Identifier)

    # --- events ------------------------------------------------------------------------------------------------------

    async def _events(self, node: ua.HistoryReadValueId, asked: ua.ReadEventDetails, room: int) -> ua.HistoryReadResult:
        machine = self._machine(node.NodeId)
        interval = Interval.of(asked.StartTime, asked.EndTime, asked.NumValuesPerNode)
        point = Point.unpack(node.ContinuationPoint, _EVENTS)
        answer = self._compiled(asked.Filter)
        if answer.compiled is None:
            raise Refused(answer.code)
        found, after = await self._page_of_events(interval, machine, point, answer.compiled, room)
        status = _CODES.GoodNoData if not found and after is None else _CODES.Good
        events = ua.HistoryEvent([ua.HistoryEventFieldList(fields) for fields in found])
        return ua.HistoryReadResult(ua.StatusCode(status), after.pack() if after else None, events)

    def _machine(self, node_id: ua.NodeId) -> str | None:
        """Whose events: None for all. Raises Refused."""
        if node_id == standard("Server"):
            return None
        if node_id.NamespaceIndex == OWN and node_id.Identifier in self._view.plant.machines:
            return str(node_id.Identifier)
        raise Refused(_CODES.BadHistoryOperationUnsupported)

    async def _page_of_events(
        self, interval: Interval, machine: str | None, point: Point | None, wanted: CompiledFilter, room: int
    ) -> tuple[list[list[ua.Variant]], Point | None]:
        start, end = interval.between(with_end=False)
        served, after = (point.served, point.after) if point else (0, interval.beginning)
        size = min(room, interval.count or room)
        if interval.is_counted:
            size = min(size, interval.count - served)
        found: list[list[ua.Variant]] = []
        scanned = 0
        while len(found) < size and scanned < MAX_SCANNED:
            room = size - len(found)
            page = await self._view.log.query(
                start, end, machine=machine, newest_first=interval.is_backward, limit=max(room, AT_ONCE), after=after
            )
            chosen, looked_at = self._chosen(page.events, wanted, room)
            found += chosen
            scanned += looked_at
            if looked_at == len(page.events):
                if page.after is None:
                    return found, None
                after = page.after
            else:
                last = page.events[looked_at - 1]
                after = Continuation(to_milliseconds(last.event.time), last.position)
        is_over = interval.is_counted and served + len(found) >= interval.count
        return found, None if is_over else Point(_EVENTS, after, served + len(found))

    def _chosen(
        self, events: Sequence[RecordedEvent], wanted: CompiledFilter, room: int
    ) -> tuple[list[list[ua.Variant]], int]:
        """The fields of what is wanted, at most `room`, and how many events were looked at for it."""
        chosen: list[list[ua.Variant]] = []
        for index, one in enumerate(events):
            if len(chosen) == room:
                return chosen, index
            told = self._types.notification(one.event, one.recorded)
            if wanted.wants(told):
                chosen.append(wanted.fields(told))
        return chosen, len(events)


_Part = tuple[list[ua.DataValue], Point | None]
"""Values, and where the next page begins."""


class _ValuePage:
    """One page of one tag's values; `size` is how many it may have."""

    def __init__(self, history: History, tag: Tag, interval: Interval, size: int) -> None:
        self._history = history
        self._tag = tag
        self._interval = interval
        self._size = size

    async def plain(self, point: Point | None, found: Sequence[ua.DataValue] = (), *, with_end: bool = False) -> _Part:
        """Values of the interval, behind what was found already."""
        interval, served = self._interval, point.served if point else 0
        after = point.after if point else interval.beginning
        room = self._size - len(found)
        if interval.is_counted:
            room = min(room, interval.count - served - len(found))
        if room <= 0:
            return list(found), None if interval.is_counted else Point(_VALUES, after, served + len(found))
        start, end = interval.between(with_end=with_end)
        page = await self._history.query(
            self._tag.id, start, end, newest_first=interval.is_backward, limit=room, after=after
        )
        values = [*found, *(self._shown(one) for one in page.values)]
        served += len(values)
        is_over = page.after is None or (interval.is_counted and served >= interval.count)
        return values, None if is_over or page.after is None else Point(_VALUES, page.after, served)

    async def bounded(self, point: Point | None) -> _Part:
        """The same with the values at both ends, or next to them (Part 11, 6.4.3.2)."""
        interval, found = self._interval, []
        if point is None and not await self._at(interval.first):
            found.append(await self._beside(interval.first, is_later=interval.is_backward))
        is_at_end = point is not None and point.is_at_end
        values, after = ([], None) if is_at_end else await self.plain(point, found, with_end=True)
        if after is not None or interval.last is None or await self._at(interval.last):
            return values, after
        if len(values) >= self._size:
            return values, Point(_VALUES, interval.beginning, 0, is_at_end=True)
        return [*values, await self._beside(interval.last, is_later=not interval.is_backward)], None

    async def _at(self, moment: datetime) -> bool:
        if moment.microsecond % 1000:
            return False
        return bool((await self._history.query(self._tag.id, moment, moment, limit=1)).values)

    async def _beside(self, moment: datetime, *, is_later: bool) -> ua.DataValue:
        start, end = (_up(moment), None) if is_later else (None, moment)
        page = await self._history.query(self._tag.id, start, end, newest_first=not is_later, limit=1)
        for one in page.values:
            return self._shown(one)
        return ua.DataValue(StatusCode=ua.StatusCode(_CODES.BadBoundNotFound), SourceTimestamp=moment)

    def _shown(self, one: HistoricValue) -> ua.DataValue:
        return convert.data_value(one.value, self._tag.definition.data_type)


def _stamped(value: ua.DataValue, stamps: ua.TimestampsToReturn) -> ua.DataValue:
    """With the times that were asked for."""
    if stamps == ua.TimestampsToReturn.Source:
        return dataclasses.replace(value, ServerTimestamp=None)
    if stamps == ua.TimestampsToReturn.Server:
        return dataclasses.replace(value, SourceTimestamp=None)
    return value
