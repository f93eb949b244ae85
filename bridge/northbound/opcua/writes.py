"""What a client's writes and calls are answered, item by item.

    request -> items in order, arguments before Execute -> submitted one after the other, none waits for another
            -> all answers within one budget; what has none then is BadTimeout, and goes on
            -> Good waits until the value it was confirmed by can be read

Commands of one machine are carried out in the order of the request: the desk's lane keeps it. What was submitted does
not depend on the request any more: the session may read and publish meanwhile, or vanish.
Source: OPC UA Part 4, 5.11.4 (Write), 5.12.2 (Call).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from asyncua import ua

from bridge.model.command import UNSET_TIMES, Door, Outcome, Result
from bridge.model.status import StatusCode
from bridge.northbound.opcua import arguments, convert
from bridge.northbound.opcua.handshake import shortened
from bridge.northbound.opcua.offers import Field
from bridge.northbound.opcua.tree import OWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from bridge.model.command import Argument
    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.model.value import Value
    from bridge.northbound.opcua.handshakes import Handshakes
    from bridge.northbound.opcua.offers import Method, Offers
    from bridge.northbound.opcua.orders import Orders
    from bridge.northbound.opcua.stack.access import Visitor

    Answer: TypeAlias = ua.StatusCode | Awaitable[StatusCode | Outcome]

SET_POINT = "value"
"""The one argument of a set point's command."""
LATE = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "No answer in time; the command goes on")


class Writes:
    """Answers writes and calls, item by item, in order."""

    def __init__(
        self,
        plant: Callable[[], Plant],
        node_class: Callable[[ua.NodeId], ua.NodeClass | None],
        offers: Offers,
        orders: Orders,
        handshakes: Handshakes,
        *,
        answer_within_s: float,
        trim: bool,
    ) -> None:
        self._plant = plant
        self._node_class = node_class
        self._offers = offers
        self._orders = orders
        self._handshakes = handshakes
        self._answer_within_s = answer_within_s
        self._trim = trim

    def may_use(self, visitor: Visitor, node_id: ua.NodeId) -> bool:
        """Whether this visitor's role lets it write or call this node, if anybody may."""
        return self._offers.may_use(visitor.rights, node_id)

    async def write(self, visitor: Visitor, items: list[ua.WriteValue]) -> list[ua.StatusCode]:
        """One status per item, in order."""
        deadline = self._deadline()
        begun: dict[int, Answer] = {}
        for index in sorted(range(len(items)), key=lambda index: not self._is_argument(items[index])):
            begun[index] = self._begin(visitor, items[index])
        return [await self._written(begun[index], deadline) for index in range(len(items))]

    def _is_argument(self, item: ua.WriteValue) -> bool:
        field = self._offers.field(item.NodeId)
        return field is not None and not field.is_execute

    async def _written(self, answer: Answer, deadline: float) -> ua.StatusCode:
        if isinstance(answer, ua.StatusCode):
            return answer
        ended = await self._in_time(answer, deadline)
        return convert.status_code(ended.status if isinstance(ended, Outcome) else ended)

    def _deadline(self) -> float:
        return self._orders.clock.monotonic() + self._answer_within_s

    async def _in_time(self, answer: Awaitable[StatusCode | Outcome], deadline: float) -> StatusCode | Outcome:
        try:
            ended = await self._orders.within(answer, max(0.0, deadline - self._orders.clock.monotonic()))
        except TimeoutError:
            return LATE
        if (ended.status if isinstance(ended, Outcome) else ended).is_good:
            await self._orders.shown(deadline)
        return ended

    def _begin(self, visitor: Visitor, item: ua.WriteValue) -> Answer:
        """Check one item and start what it asks for. Never waits."""
        if self._node_class(item.NodeId) is None:
            return ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)
        is_value = item.AttributeId == ua.AttributeIds.Value
        target = (self._offers.field(item.NodeId) or self._set_point(item.NodeId)) if is_value else None
        if target is None:
            return convert.status_code(StatusCode.BadNotWritable)
        if not self.may_use(visitor, item.NodeId):
            return convert.status_code(StatusCode.BadUserAccessDenied)
        if isinstance(target, Field):
            return self._write_field(visitor, target, item)
        return self._set(visitor, target, item)

    def _set(self, visitor: Visitor, tag: Tag, item: ua.WriteValue) -> Answer:
        value = self._value(item, self._orders.clock.now())
        if isinstance(value, ua.StatusCode):
            return value
        return self._orders.place(visitor, tag.id, {SET_POINT: value}, Door.OPCUA_WRITE).result

    def _set_point(self, node_id: ua.NodeId) -> Tag | None:
        identifier = node_id.Identifier
        if node_id.NamespaceIndex != OWN or not isinstance(identifier, str):
            return None
        tag = self._plant().find(identifier)
        return tag if tag is not None and tag.definition.writable else None

    def _value(self, item: ua.WriteValue, now: datetime) -> Value | ua.StatusCode:
        """What is to be written, as it came; a time that is not set is `now`."""
        if item.IndexRange or _is_stamped(item.Value):
            return ua.StatusCode(ua.StatusCodes.BadWriteNotSupported)
        value = convert.from_variant(item.Value.Value, now, trim=self._trim)
        return convert.status_code(value) if isinstance(value, StatusCode) else value

    # --- handshakes --------------------------------------------------------------------------------------------------

    def _write_field(self, visitor: Visitor, field: Field, item: ua.WriteValue) -> Answer:
        value = self._field_value(field, item)
        refused = value if isinstance(value, ua.StatusCode) else None
        if field.is_execute and refused is None:
            answer = self._handshakes.execute(visitor, field.owner, bool(value))
            return convert.status_code(answer) if isinstance(answer, StatusCode) else answer
        if not field.is_execute:
            field.owner.handshake.write(field.path, None if refused else value, visitor.requester)
            field.owner.show()
        return refused if refused is not None else convert.status_code(StatusCode.Good)

    def _field_value(self, field: Field, item: ua.WriteValue) -> Value | ua.StatusCode:
        value = self._value(item, UNSET_TIMES[0])  # what now is, is decided at the edge
        if not isinstance(value, ua.StatusCode):
            fitting = arguments.taken(field.argument, value)
            return convert.status_code(fitting) if isinstance(fitting, StatusCode) else fitting
        return value

    # --- methods -----------------------------------------------------------------------------------------------------

    async def call(self, visitor: Visitor, requests: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """One result per request, in order."""
        deadline = self._deadline()
        begun = [self._begin_call(visitor, request) for request in requests]
        return [await self._called(answer, deadline) for answer in begun]

    async def _called(self, answer: ua.CallMethodResult | Awaitable[Outcome], deadline: float) -> ua.CallMethodResult:
        if isinstance(answer, ua.CallMethodResult):
            return answer
        ended = await self._in_time(answer, deadline)
        return _result(ended if isinstance(ended, Outcome) else LATE)

    def _begin_call(self, visitor: Visitor, request: ua.CallMethodRequest) -> ua.CallMethodResult | Awaitable[Outcome]:
        """Check one call and submit it. Never waits."""
        method = self._offers.method(request.MethodId)
        refusal = self._refusal(visitor, method, request)
        if refusal is not None or method is None:
            return ua.CallMethodResult(ua.StatusCode(getattr(ua.StatusCodes, refusal or "BadNotExecutable")))
        given = request.InputArguments or []
        values = [convert.from_variant(one, self._orders.clock.now(), trim=self._trim) for one in given]
        results = [_fits(*pair) for pair in zip(method.command.arguments, values, strict=True)]
        if any(results):
            invalid = ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
            return ua.CallMethodResult(invalid, [convert.status_code(one) for one in results])
        named = {one.name: value for one, value in zip(method.command.arguments, values, strict=True)}
        asked = arguments.given(method.command.arguments, named)
        return self._orders.place(visitor, method.target, asked, Door.OPCUA_METHOD).result

    def _refusal(self, visitor: Visitor, method: Method | None, request: ua.CallMethodRequest) -> str | None:
        """Why this visitor may not make this call; the name of a status code."""
        if self._node_class(request.ObjectId) is None:
            return "BadNodeIdUnknown"
        is_method = self._node_class(request.MethodId) == ua.NodeClass.Method
        if not is_method or (method is not None and method.parent != request.ObjectId):
            return "BadMethodInvalid"
        if not self.may_use(visitor, request.MethodId):
            return "BadUserAccessDenied"
        if method is None:
            return "BadNotExecutable"
        given, wanted = len(request.InputArguments or ()), len(method.command.arguments)
        if given == wanted:
            return None
        return "BadArgumentsMissing" if given < wanted else "BadTooManyArguments"


def _fits(argument: Argument, value: Value | StatusCode) -> StatusCode:
    """Whether it is of the argument's type; ranges are the desk's."""
    fitting = value if isinstance(value, StatusCode) else convert.fit(value, argument.data_type)
    return fitting if isinstance(fitting, StatusCode) else StatusCode.Good


def _result(outcome: Outcome) -> ua.CallMethodResult:
    """The outputs come with a Bad status too: they say why, and clients that do not want them leave them."""
    sentence = "" if outcome.status is StatusCode.Good else shortened(outcome.sentence)
    outputs = [
        ua.Variant(sentence, ua.VariantType.String),
        ua.Variant(outcome.vendor_code, ua.VariantType.Int32),
        ua.Variant(outcome.result.value, ua.VariantType.String),
    ]
    return ua.CallMethodResult(convert.status_code(outcome.status), OutputArguments=outputs)


def _is_stamped(value: ua.DataValue) -> bool:
    """A client that sends a status or times of its own would make them ours (Part 4, 5.10.4.2)."""
    status = value.StatusCode.value if value.StatusCode else 0
    return bool(status or value.SourceTimestamp or value.ServerTimestamp)
