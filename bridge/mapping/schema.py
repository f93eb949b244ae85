"""The mapping language: one machine type's YAML file as pydantic models (design.md section 4).

The models hold what can be said about a key by itself; what needs the whole file (does the tag exist that `confirm`
names?) is found in `bridge.mapping.compile`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bridge.model.command import HAZARDS
from bridge.model.status import StatusCode
from bridge.model.units import UNITS
from bridge.model.value import DataType
from bridge.transport.duration import parse_duration

Scalar = bool | int | float | str


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str | float), Field(gt=0)]
"""Seconds, written as "500ms", "5s", "2min", "1h"."""


def _known_unit(code: object) -> object:
    if isinstance(code, str) and code not in UNITS:
        raise ValueError(f"unknown unit; known are {', '.join(UNITS)}")
    return code


def _known_status(name: object) -> object:
    if isinstance(name, str) and name not in StatusCode.__members__:
        raise ValueError(f"unknown status code; known are {', '.join(StatusCode.__members__)}")
    return name


Unit = Annotated[str, BeforeValidator(_known_unit), Field(examples=["bar", "Cel", "r/min"])]
StatusName = Annotated[str, BeforeValidator(_known_status), Field(examples=["BadSensorFailure"])]
Hazard = Literal["heat", "motion", "power", "protection", "loses_data", "loses_tension"]
Bounds = Annotated[tuple[float, float], Field(description="[low, high], both included.")]
Label = str | dict[str, str]
Severity = Annotated[int, Field(ge=1, le=1000)]
assert set(HAZARDS) == set(Hazard.__args__)  # type: ignore[attr-defined]  # noqa: S101


class Rules(BaseModel):
    """Base of every model here: unknown keys are faults, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ChannelRule(Rules):
    """How a channel's values keep fresh."""

    periodic: Duration | None = Field(None, description="How often the vendor sends this channel.")
    on_change: bool = Field(False, description="Sent only when something changes: silence is not staleness.")
    alive_by: str | None = Field(None, description="Another channel whose arrival shows that this one is still true.")
    stale_after: Duration | None = Field(None, description="Uncertain after this silence; 3 × the period by default.")
    bad_after: Duration | None = Field(None, description="Bad after this silence; 10 × the period by default.")


class WhenRule(Rules):
    """A condition on fields of any channel of the same machine; every comparison given must hold."""

    path: str | None = Field(None, description="Path of the field, channel first.")
    eq: Scalar | None = None
    ne: Scalar | None = None
    lt: float | None = None
    le: float | None = None
    gt: float | None = None
    ge: float | None = None
    within: list[Scalar] | None = Field(None, alias="in", description="The field is one of these.")
    is_null: bool | None = Field(None, description="The field is null or absent (true), or has a value (false).")
    all: list[WhenRule] | None = Field(None, description="Instead of a path: all of these hold.")
    expr: str | None = Field(None, description="Instead of a path: a CEL expression of the names given in from.")
    source: dict[str, str] | None = Field(None, alias="from", description="Names for expr, and their paths.")
    lasting: Duration | None = Field(None, alias="for", description="It has to hold for so long.")
    status: StatusName | None = Field(None, description="The status the tag gets.")
    reason: str | None = Field(None, description="One sentence for the person who wonders.")

    @model_validator(mode="after")
    def _has_something_to_say(self) -> WhenRule:
        compared = {"eq", "ne", "lt", "le", "gt", "ge", "within", "is_null"} & self.model_fields_set
        if [self.all, self.path, self.expr].count(None) != 2:
            raise ValueError("say exactly one of path (with a comparison), all and expr")
        if (self.expr is None) != (self.source is None):
            raise ValueError("expr needs names in from, and from is of no use without expr")
        if self.path is not None and not compared:
            raise ValueError("path needs a comparison: eq, ne, lt, le, gt, ge, in or is_null")
        if self.path is None and compared:
            raise ValueError("a comparison needs the path it looks at")
        return self


class LimitRule(Rules):
    """Alarm limits in the tag's unit; each makes a Boolean tag under Alarms/, all of them one alarm."""

    low_low: float | None = None
    low: float | None = None
    high: float | None = None
    high_high: float | None = None
    deadband: float = Field(0.0, ge=0, description="An alarm ends only so far inside its limit.")
    delay: Duration | None = Field(None, description="The value must be beyond the limit for so long.")
    severity: Severity = Field(
        500, description="OPC UA severity at low and high; at low_low and high_high it is 200 more."
    )


class AlarmRule(Rules):
    """An alarm that the vendor tells: of a Boolean while it is true, of an enum while it is one of `when`."""

    severity: Severity = Field(500, description="OPC UA severity, 1 to 1000; we use 100, 300, 500, 700, 900.")
    when: list[str] | None = Field(None, min_length=1, description="Of an enum: the texts that are an alarm.")
    delay: Duration | None = Field(None, description="It must last so long.")


class QualityRule(Rules):
    """A field that tells the quality of a value."""

    path: str = Field(alias="from", description="Path of the field.")
    map: dict[str, StatusName] = Field(description="What its values mean; a value that is not listed is Good.")
    reason_from: str | None = Field(None, description="Path of the vendor's own words or code for it.")


ConfirmRule = dict[str, Scalar | None] | dict[Literal["any"], list[dict[str, Scalar | None]]]


ConfirmWithin = Annotated[
    Duration | None,
    Field(le=600, description="How long it may take until that is read back; by default as the site's commands say."),
]


class WriteRule(Rules):
    """How a set point is changed. `$value` in `send` and `confirm` stands for the new value."""

    send: Any = Field(description="The vendor's payload; $value is the typed value, <x> a text from for_each.")
    hazard: list[Hazard] | dict[str, list[Hazard]] = Field(
        default_factory=list, description="Hazards of every write, or of each enum text."
    )
    confirm: ConfirmRule | None = Field(None, description="Tags that must then read so; by default the tag itself.")
    confirm_path: str | None = Field(None, description="Payload path of the readback; by default the tag's own.")
    confirm_within: ConfirmWithin = None
    requires: dict[str, Scalar] = Field(default_factory=dict, description="Tags that must read so before.")
    range: Bounds | None = Field(None, description="Accepted values where narrower than the tag's range.")
    safe: list[str] = Field(default_factory=list, description="Enum texts that flush the lane and go first.")
    absolute: bool = Field(True, description="Sending it twice leaves the same state.")


class TagRule(Rules):
    """One value.

    A path begins with the channel: `state.motor.rpm`, `state.outputs[3]`, `state['a b'].rpm`. In a list of objects
    `state.zones[name=front,side='left hand'].rpm` is of the first row with exactly these fields: texts, or numbers
    where they are written as such and without quotes. Where there is no such row, the value is absent.

    A list that a rule of `each` reads comes in parts: a row that is not told is as it was, and silent after the rule's
    `stale_after`. A tag of such a row names every field of the rule's `key` and looks at nothing but that row; `time`,
    `quality`, `bad_when` and `uncertain_when` are the rule's where it has none of its own.
    """

    source: str | list[str] | dict[str, str] | None = Field(
        None, alias="from", description="Path, alternatives (first present), or names for expr."
    )
    type: DataType | None = Field(None, description="Data type, for ever; an enum is UInt32 by itself.")
    unit: Unit | None = Field(None, description="UCUM code.")
    range: Bounds | None = Field(None, description="EURange; for a set point the accepted values.")
    deadband: float | str | None = Field(None, description='Smaller changes are not passed on; "1%" is of range.')
    label: Label | None = Field(None, description="Display name, or one for each language.")
    description: str = Field("", description="What a person should know.")
    enum: dict[str, int] | None = Field(None, description="Texts and their numbers; only ever add.")
    map: dict[str, Scalar] | None = Field(None, description='Raw values as words ("true", "1") and what they become.')
    null_is: Scalar | None = Field(None, description="What null means where it is a value; before map and enum.")
    scale: float | None = Field(None, description="Multiplies the raw number.")
    offset: float | None = Field(None, description="Added after scale.")
    expr: str | None = Field(None, description="CEL expression; v is the raw value, or the names given in from.")
    precision: int | None = Field(None, ge=0, le=12, description="Digits kept after the decimal point.")
    bad_when: WhenRule | list[WhenRule] | None = None
    uncertain_when: WhenRule | list[WhenRule] | None = None
    quality: QualityRule | None = None
    time: str | None = Field(None, description="Path of the value's own time: ISO 8601, or milliseconds since 1970.")
    absent: StatusName | None = Field(None, description="Status when the field is null or missing (BadNoData).")
    limits: LimitRule | None = None
    alarm: AlarmRule | None = Field(None, description="Of a Boolean or an enum: an alarm of its own below Alarms/.")
    max_age: Duration | None = Field(None, description="Older values (by their own time) are Uncertain.")
    min_interval: Duration | None = Field(None, description="Not passed on more often than this.")
    history: bool = Field(
        False, description="Every change is kept on disk; what a face could not say live it says later, as past."
    )
    was: str | list[str] | None = Field(None, description="Earlier names, oldest first: the tag keeps that one's id.")
    write: WriteRule | None = None


class RowTagRule(TagRule):
    """The tag of a row: every path begins in the row. `<x>` in label and description is a field of the first row."""

    unit_from: str | None = Field(None, description="The row's field that says the unit; unit is for rows that do not.")

    @model_validator(mode="after")
    def _only_reads(self) -> RowTagRule:
        given = [key for key in ("write", "was") if getattr(self, key) is not None]
        if given:
            raise ValueError(f"{' and '.join(given)} cannot stand in a tag that appears with the data")
        return self


class EachRule(Rules):
    """Tags that appear with the data: one for each key of the rows in a list."""

    within: str = Field(alias="in", description="Path of a list of rows, channel first.")
    key: list[str | list[str]] = Field(
        min_length=1,
        max_length=6,
        description="Fields of a row that say for ever which tag it is of; the tag's id is made of them. A list of "
        "fields is the first that a row has.",
    )
    tag: dict[str, RowTagRule | None] = Field(
        description="The one rule: a name with as many <field> as key has fields, in that order, and what it is."
    )
    limit: int = Field(5000, ge=1, le=100_000, description="Tags of a machine at most; more are refused.")
    settle: Duration = Field(2.0, le=60, description="New tags are collected until none has come for so long.")
    stale_after: Duration | None = Field(None, description="A tag is Uncertain so long after its last row.")
    bad_after: Duration | None = Field(None, description="A tag is Bad so long after its last row.")

    @model_validator(mode="after")
    def _has_one_tag(self) -> EachRule:
        if len([rule for rule in self.tag.values() if rule is not None]) != 1:
            raise ValueError("tag needs exactly one rule")
        return self


class ArgumentRule(Rules):
    """One argument of a command."""

    type: DataType = DataType.Double
    range: Bounds | None = None
    enum: list[str] | None = Field(None, description="The texts it accepts.")
    unit: Unit | None = None
    description: str = ""
    default: Scalar | None = Field(
        None, description="Sent where it is not given; without it, it must be given. Of a DateTime: now."
    )
    person: bool = Field(
        False,
        description="A badge number, user name or e-mail address (type String); the vendor is sent the e-mail address "
        "that the site's commands: people has for it. Empty: who is logged in, else the default.",
    )


MAX_DELAY, LONGEST_DELAY = 12 * 3600.0, 7 * 86_400.0
"""Seconds: how late a booking may be, where nothing is said and at most."""

MAX_ITEMS = 30
"""Set points of one recipe: the journal keeps two steps of each, and 64 of a command."""


class CommandRule(Rules):
    """Something a machine can be told. `$Name` in `send`, `set` and `confirm` stands for an argument.

    A command that says `set` is a recipe: its set points are written in order, until one is refused.
    """

    send: Any = Field(None, description="The vendor's payload.")
    set: dict[str, Scalar] | None = Field(
        None,
        min_length=1,
        max_length=MAX_ITEMS,
        description="Instead of send: set points of this mapping, in order, and what each gets ($Name or a value).",
    )
    args: dict[str, Bounds | ArgumentRule] = Field(default_factory=dict)
    hazard: list[Hazard] = Field(default_factory=list)
    confirm: ConfirmRule | None = Field(None, description="Tags that must then read so; none: no readback exists.")
    confirm_within: ConfirmWithin = None
    requires: dict[str, Scalar] = Field(default_factory=dict)
    safe: bool = Field(False, description="Flushes the lane and goes first.")
    absolute: bool = Field(True, description="Sending it twice leaves the same state.")
    when_offline: Literal["refuse", "queue"] = Field(
        "refuse", description="queue: a record that is kept, in order, until the vendor can be reached again."
    )
    max_delay: Duration = Field(
        MAX_DELAY, le=LONGEST_DELAY, description="Of what is queued: how late it may be; then a person decides."
    )
    label: Label | None = None
    description: str = ""

    @model_validator(mode="after")
    def _is_a_record(self) -> CommandRule:
        if self.when_offline == "refuse":
            if "max_delay" in self.model_fields_set:
                raise ValueError("max_delay is of no use without when_offline: queue")
            return self
        given = [name for name in ("set", "hazard", "requires") if getattr(self, name)] + ["safe"] * self.safe
        if given:
            raise ValueError(
                f"when_offline: queue is for records of what was done; {' and '.join(given)} says that it moves "
                "something, or hangs on the machine as it is now"
            )
        return self

    @model_validator(mode="after")
    def _sends_or_sets(self) -> CommandRule:
        said = self.model_fields_set
        if ("send" in said) == ("set" in said):
            raise ValueError("say exactly one of send and set")
        derived = [name for name in ("confirm", "hazard", "absolute") if name in said]
        if "set" in said and derived:
            raise ValueError(f"{' and '.join(derived)} cannot stand beside set: each set point has its own")
        if "set" in said and self.safe:
            raise ValueError("what sets several set points is not safe: it takes its time")
        return self


class ItemStateRule(Rules):
    """Machinery item state (OPC 40001-1) from a tag."""

    source: str = Field(alias="from", description="Name of the tag.")
    map: dict[str, Literal["NotAvailable", "OutOfService", "NotExecuting", "Executing"]] = Field(
        description='The tag\'s texts, or its values as words ("true", "1"); what is not listed is NotAvailable.'
    )


class GivenRule(Rules):
    """An observation of an example."""

    channel: str
    payload: Any
    after: Duration = Field(1.0, description="Time since the one before.")


class ExampleRule(Rules):
    """An example that is run as a test: observations in and tags out, or a command in and a vendor payload out."""

    given: GivenRule | list[GivenRule] | None = None
    expect: dict[str, Any] | None = Field(None, description="Tag names and values, or {status: …}.")
    write: dict[str, Scalar] | None = None
    call: dict[str, dict[str, Scalar]] | None = Field(None, description="A command's name and its arguments.")
    expect_send: Any = None

    @model_validator(mode="after")
    def _is_whole(self) -> ExampleRule:
        into = [name for name in ("given", "write", "call") if name in self.model_fields_set]
        if len(into) != 1:
            raise ValueError("say exactly one of given, write and call")
        wanted = "expect" if into == ["given"] else "expect_send"
        if wanted not in self.model_fields_set:
            raise ValueError(f"{into[0]} needs {wanted}")
        return self


class CountRule(Rules):
    """An array whose index is the identity: 0 … count-1."""

    count: int = Field(ge=1, le=1000)
    start: int = Field(0, description="The number shown for index 0; <x> is that number, <x.index> the index.")


ForEach = CountRule | dict[str, dict[str, Scalar]] | list[str]


class MappingFile(Rules):
    """A mapping: what one machine type of one vendor is, for every face."""

    version: Literal[1] = Field(description="Version of the language.")
    mapping: str = Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_.-]+$", description="vendor/machine-type, its name for ever.")
    extends: str | None = Field(None, description="A mapping this one changes; null removes an inherited tag.")
    abstract: bool = Field(False, description="Only to be extended; never matches a machine.")
    match: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict, description="Identity of the machines it is for; the most specific mapping wins."
    )
    label: str = ""
    identification: dict[str, str] = Field(
        default_factory=dict, description="Fields of MachineIdentificationType; <serial> etc. come from the identity."
    )
    channels: dict[str, ChannelRule] = Field(default_factory=dict)
    for_each: dict[str, ForEach] = Field(default_factory=dict)
    tags: dict[str, TagRule | None] = Field(default_factory=dict)
    each: dict[str, EachRule | None] = Field(
        default_factory=dict, description="Tags that appear with the data, by a name that their ids begin with."
    )
    commands: dict[str, CommandRule | None] = Field(default_factory=dict)
    item_state: ItemStateRule | None = None
    examples: list[ExampleRule] = Field(default_factory=list)
