"""What a person writes about a record that is replayed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bridge.sources._rules import MachineChoice, SourceRules


def _speed(speed: float) -> float:
    if speed != 0 and not 0.1 <= speed <= 1000:
        raise ValueError("0 is as fast as possible; else 0.1 to 1000 times as fast as it was")
    return speed


Speed = Annotated[float, AfterValidator(_speed)]


class ReplayConfig(SourceRules):
    """A file that `plantbridge record` has written, in a source's place. It is read only."""

    type: Literal["replay"] = Field(description="This is a record.")
    file: str = Field(
        min_length=1,
        description="The record, relative to this file; compressed or not.",
        examples=["plantbridge-record.jsonl.gz"],
    )
    of: str | None = Field(None, description="Which of the recorded sources; needed where the record has several.")
    speed: Speed = Field(1.0, ge=0, description="How many times as fast as it was; 0: as fast as possible.")
    loop: bool = Field(False, description="Begin again at the end; else the values go stale there.")


class ReplayMachine(MachineChoice):
    """Which machine of a record."""

    vendor_key: str = Field(
        alias="key",
        min_length=1,
        max_length=200,
        description="As in the first line of the record, where each machine has its key.",
        examples=["1/4/57922"],
    )

    def key(self) -> str:
        """The machine as observations name it."""
        return self.vendor_key

    def identity(self) -> dict[str, str | int]:
        """Nothing: the record tells it, and so which mapping is chosen."""
        return {}
