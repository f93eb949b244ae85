"""What a person says about time: the site's zone and its shifts."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from bridge.model.calendar import EVERY_DAY, Shift

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("no such time zone; write a name such as Europe/Berlin or UTC") from error
    return name


def _clock_time(written: object) -> object:
    """YAML reads 22:00 without quotes as the number 1320, and 06:00 as a text."""
    if isinstance(written, int) and not isinstance(written, bool) and 0 <= written < 24 * 60:
        return time(written // 60, written % 60)
    try:
        return time.fromisoformat(written).replace(second=0) if isinstance(written, str) else written
    except ValueError as error:
        raise ValueError('not a time of day; write "22:00"') from error


TimeZone = Annotated[str, AfterValidator(_time_zone)]
ClockTime = Annotated[time, BeforeValidator(_clock_time, json_schema_input_type=str), Field(examples=["22:00"])]


class ShiftRules(BaseModel):
    """One shift."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(min_length=1, max_length=40, description="What people call it.", examples=["Early"])
    start: ClockTime = Field(alias="from", description="When it begins, in the site's time zone.")
    end: ClockTime = Field(alias="to", description="When it ends; not after from: on the next day.")
    days: tuple[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], ...] = Field(
        (), description="Days on which it begins; every day where nothing is said."
    )

    def shift(self) -> Shift:
        """As the calendar wants it."""
        days = frozenset(WEEKDAYS.index(day) for day in self.days) or EVERY_DAY
        return Shift(self.name, self.start, self.end, days)
