"""Which events a client wants, and which of their fields: select and where clauses, compiled once.

asyncua evaluates a where clause anew for every event, by recursion, with a traceback for what it does not know, and
takes only the exact type for OfType. Here what cannot be done is refused when the item is made (Part 4, 7.22.3), and an
event costs one pass over the elements: an operand may refer only to an element behind its own, so they are evaluated
from the last to the first.
Null is Part 4's null: it is neither true nor false, and a comparison of what cannot be compared is null.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.ua.uaprotocol_auto import (
    ElementOperand,
    EventFilter,
    LiteralOperand,
    SimpleAttributeOperand,
)

if TYPE_CHECKING:
    from asyncua.server.address_space import AddressSpace

MAX_CLAUSES = 300
"""Fields of one item: all of an alarm's 90, thrice."""
MAX_ELEMENTS = 100
MAX_OPERANDS = 100
MAX_PATTERN = 200
"""Characters of a pattern for Like."""

Path = tuple[tuple[int, str], ...]
"""Browse path below an event type: namespace index and name of each step."""
Operand = Callable[["Notification", Sequence[Any]], Any]
_Apply = Callable[["Notification", Sequence[Any]], Any]

_NULL = ua.Variant(None, ua.VariantType.Null)
_HAS_SUBTYPE = ua.NodeId(ua.ObjectIds.HasSubtype)
_BASE = ua.NodeId(ua.ObjectIds.BaseEventType)
_CODES = ua.StatusCodes


@dataclass(frozen=True, slots=True)
class Notification:
    """An event as clients are told it. `fields` by browse path; `types` is its type with all supertypes."""

    type_id: ua.NodeId
    types: frozenset[ua.NodeId]
    source: ua.NodeId
    fields: Mapping[Path, ua.Variant]
    condition: ua.NodeId | None = None
    """The NodeId of the condition it is about (Part 9: the operand with an empty path and attribute NodeId)."""

    def is_of(self, type_id: ua.NodeId) -> bool:
        """Whether it is of this type or of one below it."""
        return type_id in self.types

    def value(self, path: Path) -> ua.Variant:
        """A field; null where this event has none of this name."""
        return self.fields.get(path, _NULL)


def supertypes(aspace: AddressSpace, type_id: ua.NodeId) -> frozenset[ua.NodeId]:
    """A type and everything above it."""
    found: list[ua.NodeId] = []
    current: ua.NodeId | None = type_id
    while current is not None and current not in found:
        found.append(current)
        node = aspace.get(current)
        current = next(
            (
                one.NodeId
                for one in (node.references if node else ())
                if one.ReferenceTypeId == _HAS_SUBTYPE and not one.IsForward
            ),
            None,
        )
    return frozenset(found)


class CompiledFilter:
    """What an item wants of events."""

    def __init__(
        self, select: Sequence[Operand], where: Sequence[Callable[[Notification, Sequence[Any]], Any]]
    ) -> None:
        self._select = select
        self._where = where

    @property
    def width(self) -> int:
        """Fields of an event."""
        return len(self._select)

    def wants(self, event: Notification) -> bool:
        """Whether the where clause lets it through."""
        if not self._where:
            return True
        results: list[Any] = [None] * len(self._where)
        for index in range(len(self._where) - 1, -1, -1):
            results[index] = self._where[index](event, results)
        return results[0] is True

    def fields(self, event: Notification) -> list[ua.Variant]:
        """The fields, in the order of the select clauses."""
        return [one(event, ()) for one in self._select]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told about its filter. `compiled` is None where `code` refuses it."""

    code: int
    result: ua.EventFilterResult | None
    compiled: CompiledFilter | None


def compile_filter(asked: Any, aspace: AddressSpace) -> Answer:
    """Make a filter ready, or say clause by clause what is wrong with it."""
    if not isinstance(asked, EventFilter):
        return Answer(_CODES.BadEventFilterInvalid, None, None)
    clauses, elements = asked.SelectClauses or [], asked.WhereClause.Elements or []
    if not clauses or len(clauses) > MAX_CLAUSES or len(elements) > MAX_ELEMENTS:
        code = _CODES.BadTooManyOperations if clauses else _CODES.BadEventFilterInvalid
        return Answer(code, None, None)
    selected = [_selected(one, aspace) for one in clauses]
    where = [_Element(index, one, len(elements), aspace) for index, one in enumerate(elements)]
    result = ua.EventFilterResult(
        SelectClauseResults=[ua.StatusCode(one if isinstance(one, int) else 0) for one in selected],
        WhereClauseResult=ua.ContentFilterResult(ElementResults=[one.result for one in where]),
    )
    if all(isinstance(one, int) for one in selected):
        return Answer(_CODES.BadEventFilterInvalid, result, None)
    if any(one.code for one in where):
        return Answer(_CODES.BadEventFilterInvalid, result, None)
    fields: list[Operand] = [_nothing if isinstance(one, int) else one for one in selected]
    is_perfect = not any(isinstance(one, int) for one in selected)
    return Answer(0, None if is_perfect else result, CompiledFilter(fields, [one.evaluate for one in where]))


def _nothing(event: Notification, results: Sequence[Any]) -> ua.Variant:
    return _NULL


def _selected(clause: ua.SimpleAttributeOperand, aspace: AddressSpace) -> Operand | int:
    """The field of a select clause as a Variant, or why there is none."""
    type_id = clause.TypeDefinitionId or ua.NodeId()
    if not type_id.is_null() and _BASE not in supertypes(aspace, type_id):
        return int(_CODES.BadTypeDefinitionInvalid)
    if clause.IndexRange:
        return int(_CODES.BadIndexRangeInvalid)
    path = _path(clause.BrowsePath)
    if clause.AttributeId == ua.AttributeIds.NodeId and not path:
        return lambda event, _: _NULL if event.condition is None else ua.Variant(event.condition, _NODE_ID)
    if clause.AttributeId != ua.AttributeIds.Value or not path:
        return int(_CODES.BadAttributeIdInvalid)
    return lambda event, _: event.value(path)


_NODE_ID = ua.VariantType.NodeId


def _path(names: Sequence[ua.QualifiedName] | None) -> Path:
    return tuple((one.NamespaceIndex, one.Name or "") for one in names or ())


class _Element:
    """One element of a where clause. `code` is 0 where it can be done."""

    def __init__(self, index: int, element: ua.ContentFilterElement, count: int, aspace: AddressSpace) -> None:
        operands = element.FilterOperands or []
        self.operands = [_operand(one, index, count, aspace) for one in operands[:MAX_OPERANDS]]
        codes = [one if isinstance(one, int) else 0 for one in self.operands]
        known = _OPERATORS.get(element.FilterOperator)
        self.code = 0
        if known is None:
            self.code = int(_CODES.BadFilterOperatorUnsupported)
        elif not known[0] <= len(operands) <= known[1]:
            self.code = int(_CODES.BadFilterOperandCountMismatch)
        elif any(codes):
            self.code = int(_CODES.BadFilterOperandInvalid)
        self._apply = known[2] if known else None
        self.result = ua.ContentFilterElementResult(
            StatusCode=ua.StatusCode(self.code), OperandStatusCodes=[ua.StatusCode(code) for code in codes]
        )

    def evaluate(self, event: Notification, results: Sequence[Any]) -> Any:
        """True, False or null; or a number, of the bitwise ones."""
        assert self._apply is not None  # noqa: S101 - one with a code is never evaluated
        return self._apply(event, [one(event, results) for one in self.operands])  # type: ignore[operator]


def _operand(operand: Any, index: int, count: int, aspace: AddressSpace) -> Operand | int:
    if isinstance(operand, ElementOperand):
        target = operand.Index
        if not index < target < count:  # forward only: no cycle
            return int(_CODES.BadFilterOperandInvalid)
        return lambda _, results: results[target]
    if isinstance(operand, LiteralOperand):
        literal = _plain(operand.Value)
        return lambda *_: literal
    if isinstance(operand, SimpleAttributeOperand):
        found = _selected(operand, aspace)
        return found if isinstance(found, int) else lambda event, results: _plain(found(event, results))
    return int(_CODES.BadFilterOperandInvalid)  # an AttributeOperand is not for events (Part 4, 7.7.4.4)


def _plain(variant: ua.Variant | None) -> Any:
    """A value that can be compared: texts without their language, times with their zone."""
    value = None if variant is None else variant.Value
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _equals(one: Any, other: Any) -> bool | None:
    if one is None or other is None:
        return None
    return bool(one == other)


def _ordered(one: Any, other: Any, test: Callable[[Any, Any], bool]) -> bool | None:
    kinds = ((int, float), (str,), (datetime,), (bytes,))
    if not any(isinstance(one, kind) and isinstance(other, kind) for kind in kinds):
        return None
    return bool(test(one, other))


def _comparing(test: Callable[[Any, Any], bool]) -> _Apply:
    return lambda _, values: _ordered(values[0], values[1], test)


def _and(one: Any, other: Any) -> bool | None:
    if one is False or other is False:
        return False
    return True if one is True and other is True else None


def _or(one: Any, other: Any) -> bool | None:
    if one is True or other is True:
        return True
    return False if one is False and other is False else None


def _in_list(values: Sequence[Any]) -> bool | None:
    first, *others = values
    found = [_equals(first, one) for one in others]
    return True if True in found else None if first is None else False


def _between(values: Sequence[Any]) -> bool | None:
    value, low, high = values
    return _and(_ordered(value, low, operator.ge), _ordered(value, high, operator.le))


def _of_type(event: Notification, values: Sequence[Any]) -> bool | None:
    wanted = values[0]
    return event.is_of(wanted) if isinstance(wanted, ua.NodeId) else None


def _bitwise(values: Sequence[Any], work: Callable[[int, int], int]) -> int | None:
    if all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        return work(*values)
    return None


def like(text: Any, pattern: Any) -> bool | None:
    """Part 4, 7.7.3: % any text, _ one character, [abc], [a-c], [^abc] one of or none of them, backslash escapes.

    Looks at each place of the text for each part of the pattern at most once.
    """
    if not isinstance(text, str) or not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        return None
    parts = _pattern(pattern)
    ends = {0}
    for part in parts:
        if part is None:
            ends = set(range(min(ends), len(text) + 1)) if ends else ends
        else:
            ends = {at + 1 for at in ends if at < len(text) and part(text[at])}
    return len(text) in ends


def _pattern(pattern: str) -> list[Callable[[str], bool] | None]:
    parts: list[Callable[[str], bool] | None] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        end = pattern.find("]", at + 2) if sign == "[" else -1
        if sign == "%":
            parts.append(None)
        elif sign == "_":
            parts.append(lambda _: True)
        elif end > 0:
            parts.append(_one_of(pattern[at + 1 : end]))
            at = end
        else:
            at += sign == "\\" and at + 1 < len(pattern)
            parts.append(pattern[at].__eq__)
        at += 1
    return parts


def _one_of(inside: str) -> Callable[[str], bool]:
    is_none_of = inside.startswith("^")
    listed = inside[1:] if is_none_of else inside
    ranges: list[tuple[str, str]] = []
    at = 0
    while at < len(listed):
        if at + 2 < len(listed) and listed[at + 1] == "-":
            ranges.append((listed[at], listed[at + 2]))
            at += 3
        else:
            ranges.append((listed[at], listed[at]))
            at += 1
    return lambda sign: any(low <= sign <= high for low, high in ranges) is not is_none_of


_O = ua.FilterOperator
_OPERATORS: dict[ua.FilterOperator, tuple[int, int, _Apply]] = {
    _O.Equals: (2, 2, lambda _, v: _equals(*v)),
    _O.IsNull: (1, 1, lambda _, v: v[0] is None),
    _O.GreaterThan: (2, 2, _comparing(operator.gt)),
    _O.LessThan: (2, 2, _comparing(operator.lt)),
    _O.GreaterThanOrEqual: (2, 2, _comparing(operator.ge)),
    _O.LessThanOrEqual: (2, 2, _comparing(operator.le)),
    _O.Like: (2, 2, lambda _, v: like(*v)),
    _O.Not: (1, 1, lambda _, v: not v[0] if isinstance(v[0], bool) else None),
    _O.Between: (3, 3, lambda _, v: _between(v)),
    _O.InList: (2, MAX_OPERANDS, lambda _, v: _in_list(v)),
    _O.And: (2, 2, lambda _, v: _and(*v)),
    _O.Or: (2, 2, lambda _, v: _or(*v)),
    _O.OfType: (1, 1, _of_type),
    _O.BitwiseAnd: (2, 2, lambda _, v: _bitwise(v, operator.and_)),
    _O.BitwiseOr: (2, 2, lambda _, v: _bitwise(v, operator.or_)),
}
"""Fewest and most operands, and what is done. Not: Cast, InView, RelatedTo."""
