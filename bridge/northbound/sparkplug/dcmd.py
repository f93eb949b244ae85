"""A DCMD as commands: what each of its metrics asks for. Pure.

    Setpoints/ScrewSpeed = 30                                     one command each, in order
    Commands/SetPid/Front/Args/Kp = 2, …, /Execute = true         one command: the arguments of this very message

Whatever cannot be made a command is answered and passed over; the others go on (facts 5.7). Types are taken as they
come (facts 2.5): whether a value fits is said by whoever carries commands out. Neither seq nor timestamps are wanted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from bridge.errors import ProtocolError, did_you_mean
from bridge.model.command import Command, Door, Outcome, Result
from bridge.model.command import Role as UserRole
from bridge.model.status import StatusCode
from bridge.model.tag import tag_id
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug.codec import METRIC_TYPES, Held, MetricType
from bridge.northbound.sparkplug.command_metric import DOOR, Answer, CommandMetrics, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.model.plant import Machine
    from bridge.model.value import Value
    from bridge.northbound.sparkplug.codec import Metric, Payload

EXPIRES_AFTER = timedelta(seconds=30)
"""Commands never come from the past (design.md section 6); counted from the payload's timestamp where it has one."""

MAX_METRICS = 1000
"""Metrics in one DCMD; a recipe has some hundred."""
HINTS = 3
"""Refusals of one message that look for a similar name: it takes a millisecond, and only the last one is shown."""

REQUESTER = "sparkplug"
"""Who asks: MQTT does not tell."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NATURAL = {
    10: MetricType.Int32,
    11: MetricType.Int64,
    12: MetricType.Float,
    13: MetricType.Double,
    14: MetricType.Boolean,
    15: MetricType.String,
}
"""What a value field holds when nobody says."""
_SURE_OF_32_BITS = frozenset(
    {
        MetricType.Int8,
        MetricType.Int16,
        MetricType.Int32,
        MetricType.UInt8,
        MetricType.UInt16,
        MetricType.UInt32,
        MetricType.UInt64,
    }
)
"""Types that leave no doubt what the highest of 32 bits means."""
_SCALARS = frozenset(range(MetricType.Int8, MetricType.UUID + 1))


class Envelope(NamedTuple):
    """What a DCMD does not say itself. `unique` identifies it where it has no timestamp."""

    role: UserRole
    now: datetime
    unique: str
    retained: bool = False


class Request(NamedTuple):
    """A command, and where its answer belongs. `point` is the name of the set point, "" for a command."""

    subject: str
    command: Command
    point: str = ""


class Reading(NamedTuple):
    """What a DCMD asks for, and what of it nobody can carry out."""

    requests: tuple[Request, ...]
    refused: tuple[Answer, ...]


@dataclass
class _Call:
    """What a message says about one command."""

    arguments: dict[str, Value] = field(default_factory=dict)
    fault: str = ""
    is_executed: bool = False


def read(machine: Machine, metrics: CommandMetrics, payload: Payload, envelope: Envelope) -> Reading:
    """Everything a DCMD to this machine asks for, in its order."""
    reader = _Reader(machine, metrics, payload, envelope)
    return Reading(*reader.read())


def value_of(metric: Metric, born_as: MetricType) -> Value:
    """The value in the type the message names, else the one the metric was born with, else as it came.

    Raises ProtocolError for null, historical values, what is no scalar, and numbers that may mean two things.
    """
    if metric.is_historical:
        raise ProtocolError("a historical value is not a command")
    if metric.is_null or metric.value_field is None or metric.value is None:
        raise ProtocolError("null is not a value")
    natural = _NATURAL.get(metric.value_field)
    if natural is None:
        raise ProtocolError("the value is not a number, a text, a time or true or false")
    held = Held(metric.value_field, metric.value)
    kinds = [MetricType(metric.datatype)] if metric.datatype in _SCALARS else []
    kinds = [born_as, *kinds] if born_as is MetricType.DateTime else [*kinds, born_as]
    is_ambiguous = natural is MetricType.Int32 and int(metric.value) >> 31 != 0  # type: ignore[arg-type]
    for kind in kinds:
        if is_ambiguous and kind not in _SURE_OF_32_BITS:
            continue
        try:
            return held.scalar(kind)
        except ProtocolError:
            continue
    if is_ambiguous:
        raise ProtocolError(f"{metric.value!r} in 32 bits may be a negative number: send it with its data type")
    return held.scalar(natural)


class _Reader:
    def __init__(self, machine: Machine, metrics: CommandMetrics, payload: Payload, envelope: Envelope) -> None:
        self._machine = machine
        self._metrics = metrics
        self._payload = payload
        self._envelope = envelope
        self._issued = _issued(payload, envelope.now)
        self._identity = _identity(machine.id, payload) or envelope.unique
        self._calls: dict[str, _Call] = {}
        self._requests: list[Request] = []
        self._refused: list[Answer] = []

    def read(self) -> tuple[tuple[Request, ...], tuple[Answer, ...]]:
        if len(self._payload.metrics) > MAX_METRICS:
            self._refuse(DOOR, f"A DCMD of {len(self._payload.metrics)} metrics: at most {MAX_METRICS} are taken")
            return (), tuple(self._refused)
        self._gather_arguments()
        for position, metric in enumerate(self._payload.metrics):
            self._read_metric(position, metric)
        for name, call in self._calls.items():
            if not call.is_executed:
                self._refuse(name, f"Arguments count only in the same DCMD as Commands/{name}/Execute = true")
        return tuple(self._requests), tuple(self._refused)

    def _gather_arguments(self) -> None:
        for metric in self._payload.metrics:
            part = self._metrics.part(metric.name or "")
            if part is None or part.argument is None:
                continue
            call = self._calls.setdefault(part.command, _Call())
            try:
                call.arguments[part.argument.name] = value_of(metric, METRIC_TYPES[part.argument.data_type])
            except ProtocolError as error:
                call.fault = call.fault or f"Argument {part.argument.name}: {error}"

    def _read_metric(self, position: int, metric: Metric) -> None:
        part = self._metrics.part(metric.name or "")
        if part is None:
            self._read_set_point(position, metric)
        elif part.role is Role.EXECUTE:
            self._read_execute(position, part.command, metric)
        elif part.role is Role.ANSWER:
            self._refuse(
                DOOR, f"{metric.name} tells how commands ended: it cannot be written", StatusCode.BadNotWritable
            )

    def _read_set_point(self, position: int, metric: Metric) -> None:
        tag = self._machine.tag(metric.name or "")
        if tag is None:
            self._refuse(DOOR, self._unknown(metric), StatusCode.BadNotFound)
            return
        try:
            value = value_of(metric, METRIC_TYPES[tag.definition.data_type])
        except ProtocolError as error:
            self._refuse(DOOR, f"{tag.name}: {error}", StatusCode.BadTypeMismatch)
            return
        self._request(DOOR, position, tag.id, {"value": value}, tag.name)

    def _read_execute(self, position: int, name: str, metric: Metric) -> None:
        call = self._calls.setdefault(name, _Call())
        if call.is_executed:
            self._refuse(name, "Execute came twice in one DCMD: it was taken once")
            return
        call.is_executed = True
        try:
            wanted = value_of(metric, MetricType.Boolean)
        except ProtocolError as error:
            self._refuse(name, f"Execute: {error}", StatusCode.BadTypeMismatch)
            return
        if wanted is False or wanted == 0:
            if call.arguments or call.fault:
                call.is_executed = False
        elif wanted is not True and wanted != 1:
            self._refuse(name, "Execute takes true", StatusCode.BadTypeMismatch)
        elif call.fault:
            self._refuse(name, call.fault, StatusCode.BadTypeMismatch)
        else:
            self._request(name, position, tag_id(self._machine.id, f"Commands/{name}"), call.arguments)

    def _request(
        self, subject: str, position: int, target: str, arguments: Mapping[str, Value], point: str = ""
    ) -> None:
        envelope = self._envelope
        command = Command(
            id=f"sparkplug:{self._identity}:{position}",
            target=target,
            arguments=arguments,
            door=Door.SPARKPLUG,
            requester=REQUESTER,
            issued=self._issued,
            expires=self._issued + EXPIRES_AFTER,
            role=envelope.role,
            retained=envelope.retained,
        )
        self._requests.append(Request(subject, command, point))

    def _refuse(self, subject: str, sentence: str, status: StatusCode = StatusCode.BadInvalidArgument) -> None:
        self._refused.append(Answer(subject, Outcome(Result.REJECTED, status, sentence)))

    def _unknown(self, metric: Metric) -> str:
        if not metric.name:
            alias = "" if metric.alias is None else f": {self._machine.id} announces no alias {metric.alias}"
            return f"A metric without a name{alias}"
        is_early = len(self._refused) < HINTS
        hint = did_you_mean(metric.name, self._known_names()) if is_early else ""
        return f"{self._machine.id} has no metric {metric.name[:200]!r}{'; ' if hint else ''}{hint}"

    def _known_names(self) -> Iterator[str]:
        yield from (tag.name for tag in self._machine.tags if tag.definition.writable)
        yield from self._metrics.names


def _issued(payload: Payload, now: datetime) -> datetime:
    """When it was said; a clock ahead of ours says no more than now."""
    if payload.timestamp is None:
        return now
    return _EPOCH + timedelta(milliseconds=min(payload.timestamp, to_milliseconds(now)))


def _identity(device_id: str, payload: Payload) -> str | None:
    """The same for the same message again; None where it does not say when it was made."""
    if payload.timestamp is None:
        return None
    said = [(m.name, m.alias, m.datatype, m.is_null, m.value_field, m.value) for m in payload.metrics]
    return hashlib.sha256(repr((device_id, payload.timestamp, said)).encode()).hexdigest()[:32]
