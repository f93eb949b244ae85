"""A machine's commands as Sparkplug metrics, and what became of the last one of each. Pure.

    Commands/<Name>/Execute       Boolean, False: true in a DCMD carries the command out
    Commands/<Name>/Args/<Arg>    null: taken only in the same DCMD as Execute
    Commands/<Name>/Result        "confirmed", "rejected", …: how the last one that came this way ended; null before
    Commands/<Name>/Sentence      the same for a person
    Commands/<Name>/Count         how many have ended
    Commands/DCMD/…               Result, Sentence, Count of set points, and of metrics nobody could make sense of

Sparkplug has no answer to a command: the readback is the acknowledgement, and these metrics tell why there is none
(facts 5.7). No name is a metric and a folder at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from bridge.model.value import DataType
from bridge.northbound.sparkplug.codec import METRIC_TYPES, MetricEncoder, MetricType, property_set, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.model.command import Argument, CommandDefinition, Outcome
    from bridge.model.plant import Machine
    from bridge.model.value import Value

DOOR = "DCMD"
"""Stands where a command's name would: set points and what is not understood are answered there."""


class Role(Enum):
    """What a command's metric is for."""

    EXECUTE = "Execute"
    ARGUMENT = "Args"
    ANSWER = "Result, Sentence, Count"


class Part(NamedTuple):
    """One metric's place in a command."""

    command: str
    role: Role
    argument: Argument | None = None


class Answer(NamedTuple):
    """How something that was asked for ended. `subject` is a command's name, or DOOR."""

    subject: str
    outcome: Outcome


_READ_ONLY = property_set({"readOnly": (MetricType.Boolean, True)})


class _Answers:
    """Result, Sentence and Count of one subject."""

    def __init__(self, subject: str) -> None:
        kinds = {"Result": MetricType.String, "Sentence": MetricType.String, "Count": MetricType.Int64}
        names = {f"Commands/{subject}/{word}": kind for word, kind in kinds.items()}
        self.encoders = {name: MetricEncoder(name, kind) for name, kind in names.items()}
        self._last: Outcome | None = None
        self._number = 0
        self.time_ms = 0
        self.is_unsaid = False

    def tell(self, outcome: Outcome, now_ms: int) -> None:
        """Another one has ended."""
        self._last = outcome
        self._number += 1
        self.time_ms = max(self.time_ms, now_ms)
        self.is_unsaid = True

    def birth(self, now_ms: int) -> list[bytes]:
        """The three metrics at the time of the answer, or now where none came."""
        then = stamp(self.time_ms or now_ms)
        return [encoder.birth(then, value, _READ_ONLY) for encoder, value in self._each()]

    def data(self, typed: bool) -> list[bytes]:
        """The three metrics at the time of the answer."""
        then = stamp(self.time_ms)
        return [encoder.encode(then, value, with_type=typed) for encoder, value in self._each()]

    def _each(self) -> Iterator[tuple[MetricEncoder, Value]]:
        last = (None, None) if self._last is None else (self._last.result.value, self._last.sentence)
        return zip(self.encoders.values(), (*last, self._number), strict=True)


@dataclass(frozen=True, slots=True)
class _Input:
    """A metric a host may write; it has no value of its own."""

    encoder: MetricEncoder
    neutral: Value
    properties: bytes


class CommandMetrics:
    """The metrics of one machine's commands; none where it takes neither commands nor set points."""

    def __init__(self, machine: Machine, *, datatype_in_data: bool = False) -> None:
        self._typed = datatype_in_data
        self._parts: dict[str, Part] = {}
        self.encoders: dict[str, MetricEncoder] = {}
        """Every metric's, by its name."""
        self._inputs: list[_Input] = []
        self._executes: dict[str, MetricEncoder] = {}
        self._answers: dict[str, _Answers] = {}
        for command in machine.commands:
            self._add(command)
        if self._answers or any(tag.definition.writable for tag in machine.tags):
            self._add_answers(DOOR)

    @property
    def names(self) -> tuple[str, ...]:
        """Every metric's name."""
        return tuple(self._parts)

    def part(self, name: str) -> Part | None:
        """What the metric of this name is for."""
        return self._parts.get(name)

    def tell(self, answer: Answer, now_ms: int) -> None:
        """Something ended; what is unknown by now is forgotten."""
        known = self._answers.get(answer.subject)
        if known is not None:
            known.tell(answer.outcome, now_ms)

    def birth(self, now_ms: int) -> Iterator[bytes]:
        """Every metric; what was unsaid is said."""
        now = stamp(now_ms)
        for one in self._inputs:
            yield one.encoder.birth(now, one.neutral, one.properties)
        for answers in self._answers.values():
            answers.is_unsaid = False
            yield from answers.birth(now_ms)

    def data(self) -> list[bytes]:
        """What ended since the last time, in order of time; Execute is False again, for hosts that show it."""
        unsaid = sorted(
            ((answers.time_ms, subject) for subject, answers in self._answers.items() if answers.is_unsaid),
        )
        metrics: list[bytes] = []
        for time_ms, subject in unsaid:
            self._answers[subject].is_unsaid = False
            execute = self._executes.get(subject)
            metrics += [execute.encode(stamp(time_ms), False, with_type=self._typed)] if execute is not None else []
            metrics += self._answers[subject].data(self._typed)
        return metrics

    def _add(self, command: CommandDefinition) -> None:
        name = f"Commands/{command.name}/Execute"
        told = command.description or command.label.get("en", "")
        self._parts[name] = Part(command.name, Role.EXECUTE)
        self._executes[command.name] = self._take(name, MetricType.Boolean, False, _properties(told))
        for argument in command.arguments:
            name = f"Commands/{command.name}/Args/{argument.name}"
            self._parts[name] = Part(command.name, Role.ARGUMENT, argument)
            self._take(name, METRIC_TYPES[argument.data_type], None, _of_argument(argument))
        self._add_answers(command.name)

    def _take(self, name: str, kind: MetricType, neutral: Value, properties: bytes) -> MetricEncoder:
        self.encoders[name] = encoder = MetricEncoder(name, kind)
        self._inputs.append(_Input(encoder, neutral, properties))
        return encoder

    def _add_answers(self, subject: str) -> None:
        self._answers[subject] = answers = _Answers(subject)
        self.encoders.update(answers.encoders)
        self._parts.update((name, Part(subject, Role.ANSWER)) for name in answers.encoders)


def signature(machine: Machine) -> tuple[object, ...]:
    """What hosts see of a machine's commands."""
    return tuple((one.name, one.arguments, one.description or one.label.get("en", "")) for one in machine.commands)


def _of_argument(argument: Argument) -> bytes:
    texts = ", ".join(argument.enumeration)
    default = "" if argument.person or argument.default is None else f"{argument.default_words} by default"
    person = "a badge number, a user name or an e-mail address" if argument.person else ""
    told = "; ".join(text for text in (argument.description, texts, default, person) if text)
    unit = argument.unit.symbol if argument.unit is not None else ""
    bounds = argument.eu_range if argument.data_type is not DataType.String else None
    return _properties(told, unit, bounds)


def _properties(documentation: str, unit: str = "", bounds: tuple[float, float] | None = None) -> bytes:
    known: dict[str, tuple[MetricType, Value]] = {"readOnly": (MetricType.Boolean, False)}
    if unit:
        known["engUnit"] = (MetricType.String, unit)
    if bounds is not None:
        known["engLow"] = (MetricType.Double, float(bounds[0]))
        known["engHigh"] = (MetricType.Double, float(bounds[1]))
    if documentation:
        known["documentation"] = (MetricType.String, documentation)
    return property_set(known)
