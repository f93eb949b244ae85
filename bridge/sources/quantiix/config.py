"""What a person writes about a Quantiix account and its machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from bridge.sources._periods import Periods, achievable
from bridge.sources._rules import MachineChoice, RuleFault, SourceRules
from bridge.transport.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bridge.model.calendar import Calendar

DEFAULT_URL: Final = "http://developers-api-server.prod.quantiix.ai/api/v1"
SUFFIX: Final = "/api/v1"
RESERVED: Final = 0.8
"""Part of the limit that is used evenly: a tenth is reserve, a tenth is bursts (`bridge.sources._budget`)."""


def _account_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an address; write https://<host>{SUFFIX}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the address; use the keys email and password")
    if parts.query or parts.fragment:
        raise ValueError(f"only scheme, host, port and path; write https://<host>{SUFFIX}")
    _ = parts.port  # raises ValueError for a port that is none
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or SUFFIX}"


class DowntimeRules(BaseModel):
    """When a stop is a downtime."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle: Duration | None = Field(600, description="IDLE for so long is a downtime; null: never.")
    off: Duration | None = Field(None, description="OFF for so long is a downtime; null: never.")


class QuantiixConfig(SourceRules):
    """One Quantiix account. It is read only: Quantiix has no commands."""

    type: Literal["quantiix"] = Field(description="The vendor.")
    url: Annotated[str, AfterValidator(_account_url)] = Field(
        DEFAULT_URL,
        description="Address of the API, /api/v1 included. Over http the password can be read by anybody on the way: "
        "ask Quantiix for an https address.",
    )
    email: str = Field(min_length=3, max_length=200, description="User of the account.")
    password: SecretStr = Field(min_length=1, description="Its password; ${file:…} keeps it out of this file.")
    ca_file: str | None = Field(None, description="PEM file of the authority behind the server's certificate.")
    requests_per_minute: int = Field(
        100, ge=10, le=10_000, description="The account's limit; a fifth of it is left as reserve and for bursts."
    )
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="This source's part of the limit, where several sources or bridges use the account.",
    )
    state_period: Duration = Field(60.0, ge=30, le=3600, description="How often each machine's state is read.")
    activity_period: Duration = Field(600.0, ge=60, le=86_400, description="How often each machine's activity is read.")
    request_timeout: Duration = Field(30.0, ge=1, le=120, description="How long an answer may take.")
    calendar: Literal["none", "days", "shifts"] = Field(
        "none",
        description="Which windows have figures besides the last hour, day and week: days adds today, shifts adds the "
        "shift too; they need time_zone and shifts of the bridge.",
    )
    off_counts: bool = Field(True, description="OFF is planned time (it lowers availability); false: it is left out.")
    coverage: float = Field(95.0, ge=0, le=100, description="Percent of a window that must be known for Good figures.")
    downtime: DowntimeRules = Field(default_factory=DowntimeRules, description="When a stop is a downtime.")
    max_backfill: Duration = Field(
        30 * 86_400.0, ge=0, le=90 * 86_400, description="How far back activity is read again after an outage."
    )

    @property
    def is_encrypted(self) -> bool:
        """The address is https."""
        return self.url.startswith("https://")

    @property
    def part_of_limit(self) -> tuple[str, float]:
        """The account at its host, however its address is written."""
        parts = urlsplit(self.url)
        return f"{self.email.strip().casefold()} at {parts.hostname}", self.share

    def hints(self) -> dict[str, str | int]:
        """The vendor and the windows: what chooses the mapping."""
        return {"vendor": "quantiix", "calendar": self.calendar}

    def faults(self, machines: Collection[str], calendar: Calendar | None) -> Iterator[RuleFault]:
        """A period that the limit does not allow for so many machines, and windows that need a calendar."""
        yield from self._calendar_faults(calendar)
        rate = self.requests_per_minute * self.share * RESERVED
        kept = achievable(len(machines), rate, Periods(self.state_period, self.activity_period))
        if machines and kept.activity > self.activity_period:
            yield RuleFault(
                ("activity_period",),
                f"{len(machines)} machines cannot be read so often: activity may take a fifth of {rate:g} requests a "
                f"minute, so 60 × {len(machines)} / {rate / 5:g} = {kept.activity:.1f} s",
                f"{_rounded_up(kept.activity)}s or more",
            )
        elif machines and kept.state > self.state_period:
            activity = 60 * len(machines) / self.activity_period
            yield RuleFault(
                ("state_period",),
                f"{len(machines)} machines cannot be read so often: of {self.requests_per_minute} requests a minute "
                f"(share {self.share:g}) {rate:g} are used, {activity:g} of them for activity, so "
                f"60 × {len(machines)} / {rate - activity:g} = {kept.state:.1f} s",
                f"{_rounded_up(kept.state)}s or more",
            )

    def _calendar_faults(self, calendar: Calendar | None) -> Iterator[RuleFault]:
        if self.calendar != "none" and calendar is None:
            yield RuleFault(("calendar",), "days begin at midnight, but where?", "bridge.time_zone, or calendar: none")
        elif self.calendar == "shifts" and calendar is not None and not calendar.shifts:
            yield RuleFault(("calendar",), "no shifts are known", "bridge.shifts, or calendar: days")


class QuantiixMachine(MachineChoice):
    """Which machine of an account."""

    unique_id: str = Field(
        min_length=1, max_length=200, description="machineUniqueId, as in Quantiix' list.", examples=["MACHINE_001"]
    )

    def key(self) -> str:
        """The machine as observations name it: its machineUniqueId."""
        return self.unique_id

    def identity(self) -> dict[str, str | int]:
        """What `match:` of a mapping is compared with."""
        return {"vendor": "quantiix", "unique_id": self.unique_id}


def _rounded_up(seconds: float) -> int:
    return -int(-seconds // 1)
