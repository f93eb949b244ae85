"""What a person writes about a TrackMyMachines organisation and its machines."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from bridge.model.email import is_email
from bridge.sources._rules import MachineChoice, RuleFault, SourceRules
from bridge.sources.trackmymachines.payloads import TYPES
from bridge.transport.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.model.calendar import Calendar

SUFFIX: Final = "/api/v1"
DAY: Final = 86_400.0

EventType = Literal["cycle", "step", "part_count", "shift_period", "activity_reason", "work_order_operation"]
assert set(EventType.__args__) == set(TYPES)  # type: ignore[attr-defined]  # noqa: S101


def _host_url(url: str) -> str:
    parts = urlsplit(url)
    example = "https://your-org.trackmymachines.app"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an address; write {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the address; use the key api_key")
    if parts.query or parts.fragment:
        raise ValueError(f"only scheme, host, port and path; write {example}")
    _ = parts.port  # raises ValueError for a port that is none
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or SUFFIX}"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


def _email(text: str) -> str:
    if not is_email(text):
        raise ValueError("not an e-mail address")
    return text


HostUrl = Annotated[str, AfterValidator(_host_url)]
Pattern = Annotated[str, AfterValidator(_pattern), Field(min_length=1, max_length=500)]


class AllowRules(BaseModel):
    """What may be written: TrackMyMachines makes a new part, recipe or step of what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: Pattern | None = Field(
        None, description="Regular expression of the whole part identifier.", examples=["[0-9]{6,8}"]
    )
    recipe: Pattern = Field("[0-9]{1,4}", description="Of the whole recipe version; the vendor reads it as a number.")
    step: Pattern = Field("[A-Za-z0-9._-]{1,20}", description="Of the whole step number.")
    work_order: Pattern = Field(r"[^\r\n]{0,64}", description="Of the whole work order; it may be left out.")


class TrackMyMachinesConfig(SourceRules):
    """One TrackMyMachines organisation."""

    type: Literal["trackmymachines"] = Field(description="The vendor.")
    events_url: HostUrl = Field(
        description="Host of the events; /api/v1 is added.", examples=["https://your-org.trackmymachines.app"]
    )
    step_events_url: HostUrl = Field(
        description="Host of the step events; /api/v1 is added.", examples=["https://your-org.trackmymachines.com"]
    )
    api_key: SecretStr = Field(
        min_length=1, description="Key of the organisation; ${file:…} keeps it out of this file."
    )
    api_key_expires: date | None = Field(
        None, description="The day on which the key ends (90 days after it was made, by default): told in time."
    )
    ca_file: str | None = Field(None, description="PEM file of the authority behind the servers' certificates.")
    edition: Literal["2025-05", "2025-07"] = Field(
        "2025-05", description="Of the vendor's step events page: May finishes by PATCH, July by POST."
    )
    finish_parameter: str | None = Field(
        None,
        pattern=r"^[a-z_]{1,40}$",
        description="Edition 2025-07 only: the parameter of POST that finishes a step event; ask TrackMyMachines.",
    )
    filters: Literal["none", "brackets", "comma", "repeat"] = Field(
        "none",
        description="How machines are asked for where only named ones are read (discovery: adopt). The vendor's page "
        "contradicts itself, and a wrong guess loses events silently: none reads all and drops what is not wanted.",
    )
    period: Duration = Field(15.0, ge=5, le=3600, description="How often the timeline is read; one request for all.")
    overlap: Duration = Field(900.0, ge=60, le=6 * 3600, description="How much of what was read is read again.")
    step_events_period: Duration | None = Field(
        300.0, ge=60, le=DAY, description="How often the vendor's sums of step events are read; null: never."
    )
    max_backfill: Duration = Field(
        7 * DAY, ge=0, le=7 * DAY, description="How far back the timeline is read after an outage."
    )
    requests_per_minute: int = Field(
        60, ge=12, le=6000, description="At most so many; the vendor documents no limit, and a 429 is obeyed."
    )
    request_timeout: Duration = Field(30.0, ge=1, le=120, description="How long an answer may take.")
    calendar: Literal["none", "days", "shifts"] = Field(
        "none",
        description="Where days and shifts come from: none has the vendor's shift periods, days adds today, shifts "
        "takes the bridge's shifts in place of the vendor's; they need time_zone and shifts of the bridge.",
    )
    parts_per_count: float = Field(1.0, gt=0, le=1e6, description="Parts that one part count stands for.")
    events: tuple[EventType, ...] = Field(
        TYPES,
        description="Types whose opening, closing and correction are told as events; values are kept of all.",
    )
    writes: bool = Field(False, description="Allow StartStep and FinishStep; the key must be a read-write one.")
    allow_hazards: tuple[Literal["loses_data"], ...] = Field(
        (), description="Hazards that a mapping of your own may give its commands; the shipped ones have none."
    )
    user_email: Annotated[str, AfterValidator(_email)] | None = Field(
        None, description="Who is booked where a command names nobody; told to the vendor and to nobody else."
    )
    allow: AllowRules = Field(default_factory=AllowRules, description="What may be written.")
    when_running: Literal["refuse", "finish_first", "overlap"] = Field(
        "refuse", description="What StartStep does while another step runs on the machine."
    )
    reconcile_within: Duration = Field(
        30.0,
        ge=10,
        le=300,
        description="How long it is read, three times, for what a write without an answer did.",
    )

    @property
    def is_encrypted(self) -> bool:
        """Both addresses are https."""
        return self.events_url.startswith("https://") and self.step_events_url.startswith("https://")

    @property
    def accepts_writes(self) -> bool:
        """Commands may go to this source."""
        return self.writes

    @property
    def hazards(self) -> frozenset[str]:
        """The hazards that commands may carry."""
        return frozenset(self.allow_hazards)

    def hints(self) -> dict[str, str | int]:
        """The vendor and the windows: what chooses the mapping."""
        return {"vendor": "trackmymachines", "calendar": self.calendar}

    def faults(self, machines: Mapping[str, Mapping[str, str | int]], calendar: Calendar | None) -> Iterator[RuleFault]:
        """Windows that need a calendar, and what writes need."""
        if self.calendar != "none" and calendar is None:
            yield RuleFault(("calendar",), "days begin at midnight, but where?", "bridge.time_zone, or calendar: none")
        elif self.calendar == "shifts" and calendar is not None and not calendar.shifts:
            yield RuleFault(("calendar",), "no shifts are known", "bridge.shifts, or calendar: days")
        if self.finish_parameter is not None and self.edition != "2025-07":
            yield RuleFault(("finish_parameter",), "only edition 2025-07 finishes by POST", "edition: 2025-07, or none")
        yield from _shared(machines)
        if self.writes:
            yield from self._write_faults(machines)

    def _write_faults(self, machines: Mapping[str, Mapping[str, str | int]]) -> Iterator[RuleFault]:
        if self.allow.part is None:
            yield RuleFault(
                ("writes",),
                "which parts may be booked? A typo makes a new part in TrackMyMachines",
                'allow: {part: "<regular expression>"} beside it',
            )
        for key, identity in machines.items():
            if not identity.get("display_name"):
                yield RuleFault(
                    (),
                    f"{key} cannot be written to by its foreign id",
                    "display_name: its name in TrackMyMachines, exactly; or writes: false of its source",
                    machine=key,
                )


class TrackMyMachinesMachine(MachineChoice):
    """Which machine of an organisation: its three identities."""

    foreign_id: str = Field(
        min_length=1, max_length=100, description="machine_foreign_id of its events.", examples=["MACHINE_001"]
    )
    display_name: str | None = Field(
        None, min_length=1, max_length=100, description="Its name in TrackMyMachines, exactly: commands go by it."
    )
    number: int | None = Field(None, ge=0, description="Its machine id in TrackMyMachines, for sums of step events.")

    def key(self) -> str:
        """The machine as observations name it: its foreign id."""
        return self.foreign_id

    def identity(self) -> dict[str, str | int]:
        """What `match:` of a mapping is compared with, and what the source must know of it."""
        told: dict[str, str | int] = {"vendor": "trackmymachines", "foreign_id": self.foreign_id}
        if self.display_name is not None:
            told["display_name"] = self.display_name
        if self.number is not None:
            told["number"] = self.number
        return {**told, "serial": self.foreign_id, "name": self.display_name or self.foreign_id}


def _shared(machines: Mapping[str, Mapping[str, str | int]]) -> Iterator[RuleFault]:
    """Two machines that the vendor would take for one: bookings and sums of the one would be the other's."""
    for name in ("display_name", "number"):
        taken: dict[str | int, str] = {}
        for key, identity in machines.items():
            value = identity.get(name)
            if value is not None and taken.setdefault(value, key) != key:
                yield RuleFault(
                    (name,), f"is that of {taken[value]} too", f"the {name} of {key} in TrackMyMachines", machine=key
                )
