"""Browse in portions, and BrowseNext, which asyncua does not have.

    Browse -> at most so many references per node -> the rest waits at a continuation point of the session
    BrowseNext -> the next portion, or release

Points are kept oldest first; a new Browse takes the place of earlier ones, and within one request there are no more
than `MAX_POINTS` (Part 4, 7.9: points of earlier requests are freed where a new one needs them).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING

from asyncua import ua
from asyncua.common.utils import ServiceError

if TYPE_CHECKING:
    from asyncua.server.address_space import AddressSpace

    from bridge.northbound.opcua.config import OpcuaLimits

References = list[ua.ReferenceDescription]

HAS_SUBTYPE = ua.NodeId(ua.ObjectIds.HasSubtype)
IN_ONE_ANSWER = 50
"""An answer has at most this many times `references_per_node`."""
CHUNK = 5000
"""References looked at before the loop may turn."""


class Browser:
    """What one session may browse."""

    def __init__(self, aspace: AddressSpace, limits: OpcuaLimits) -> None:
        self._aspace = aspace
        self._limits = limits
        self._points: OrderedDict[bytes, tuple[References, int]] = OrderedDict()
        """What is left, and which fields of it are asked for."""
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._points)

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """The first references of each node. Raises ServiceError."""
        if params.View is not None and not params.View.ViewId.is_null():
            raise ServiceError(ua.StatusCodes.BadViewIdUnknown)
        most, earlier = self._portion(params.RequestedMaxReferencesPerNode), set(self._points)
        kinds, results, given, seen = _Kinds(self._aspace), [], 0, 0
        for asked in params.NodesToBrowse:
            results.append(self._browse(asked, most, earlier, kinds))
            given += len(results[-1].References)
            if given > IN_ONE_ANSWER * self._limits.references_per_node:
                raise ServiceError(ua.StatusCodes.BadResponseTooLarge)
            seen += len(self._aspace[asked.NodeId].references) if asked.NodeId in self._aspace else 0
            if seen > CHUNK:
                seen = 0
                await asyncio.sleep(0)
        return results

    def browse_next(self, params: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        """The next references at these points, as many as before; or nothing, where they are released."""
        release = params.ReleaseContinuationPoints
        return [self._next(point or b"", release=release) for point in params.ContinuationPoints]

    def _portion(self, asked: int) -> int:
        limit = self._limits.references_per_node
        return min(asked, limit) if asked else limit

    def _browse(self, asked: ua.BrowseDescription, most: int, earlier: set[bytes], kinds: _Kinds) -> ua.BrowseResult:
        code = self._fault(asked)
        if code is not None:
            return _refused(code)
        found, mask = self._references(asked, kinds.of(asked)), asked.ResultMask & _EVERYTHING
        if len(found) <= most:
            return ua.BrowseResult(References=_masked(found, mask))
        if not self._make_room(earlier):
            return _refused(ua.StatusCodes.BadNoContinuationPoints)
        point = most.to_bytes(4, "little") + next(self._numbers).to_bytes(8, "little")
        self._points[point] = found[most:], mask
        return ua.BrowseResult(ContinuationPoint=point, References=_masked(found[:most], mask))

    def _make_room(self, earlier: set[bytes]) -> bool:
        if len(self._points) < self._limits.continuation_points:
            return True
        oldest = next(iter(self._points))
        if oldest not in earlier:
            return False
        del self._points[oldest]
        return True

    def _next(self, point: bytes, *, release: bool) -> ua.BrowseResult:
        rest, mask = self._points.pop(point, (None, 0))
        if rest is None:
            return _refused(ua.StatusCodes.BadContinuationPointInvalid)
        if release:
            return ua.BrowseResult()
        most = int.from_bytes(point[:4], "little")
        if len(rest) <= most:
            return ua.BrowseResult(References=_masked(rest, mask))
        self._points[point] = rest[most:], mask
        return ua.BrowseResult(ContinuationPoint=point, References=_masked(rest[:most], mask))

    def _fault(self, asked: ua.BrowseDescription) -> int | None:
        if asked.NodeId not in self._aspace:
            return int(ua.StatusCodes.BadNodeIdUnknown)
        if asked.BrowseDirection == ua.BrowseDirection.Invalid:
            return int(ua.StatusCodes.BadBrowseDirectionInvalid)
        unknown = not asked.ReferenceTypeId.is_null() and asked.ReferenceTypeId not in self._aspace
        return int(ua.StatusCodes.BadReferenceTypeIdInvalid) if unknown else None

    def _references(self, asked: ua.BrowseDescription, kinds: set[ua.NodeId] | None) -> References:
        directions = _DIRECTIONS[asked.BrowseDirection]
        return [
            one
            for one in self._aspace[asked.NodeId].references
            if one.IsForward in directions
            and (kinds is None or one.ReferenceTypeId in kinds)
            and (not asked.NodeClassMask or asked.NodeClassMask & one.NodeClass)
        ]


class _Kinds:
    """The reference types that are asked for, found once a request."""

    def __init__(self, aspace: AddressSpace) -> None:
        self._aspace = aspace
        self._found: dict[tuple[ua.NodeId, bool], set[ua.NodeId]] = {}

    def of(self, asked: ua.BrowseDescription) -> set[ua.NodeId] | None:
        """None for all."""
        if asked.ReferenceTypeId.is_null():
            return None
        key = asked.ReferenceTypeId, bool(asked.IncludeSubtypes)
        if key not in self._found:
            self._found[key] = self._with_subtypes(*key)
        return self._found[key]

    def _with_subtypes(self, kind: ua.NodeId, subtypes: bool) -> set[ua.NodeId]:
        kinds, waiting = {kind}, [kind] if subtypes else []
        while waiting:
            for one in self._aspace[waiting.pop()].references:
                if one.IsForward and one.ReferenceTypeId == HAS_SUBTYPE and one.NodeId not in kinds:
                    kinds.add(one.NodeId)
                    waiting.append(one.NodeId)
        return kinds


def _masked(references: References, mask: int) -> References:
    """With the fields that are asked for; the others are null (Part 4, 5.9.2)."""
    if mask == _EVERYTHING:
        return references
    names = [name for bit, name in _FIELDS if mask & bit]
    return [
        ua.ReferenceDescription(
            **{"IsForward": False, **{name: getattr(one, name) for name in names}}, NodeId=one.NodeId
        )
        for one in references
    ]


_FIELDS = tuple(
    (int(getattr(ua.BrowseResultMask, name)), name)
    for name in ("ReferenceTypeId", "IsForward", "NodeClass", "BrowseName", "DisplayName", "TypeDefinition")
)
_EVERYTHING = int(ua.BrowseResultMask.All)
_DIRECTIONS = {
    ua.BrowseDirection.Forward: (True,),
    ua.BrowseDirection.Inverse: (False,),
    ua.BrowseDirection.Both: (True, False),
}


def _refused(code: int) -> ua.BrowseResult:
    return ua.BrowseResult(ua.StatusCode(code))
