"""What a person says about commands in `commands:`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.transport.duration import Duration


class CommandsConfig(BaseModel):
    """How commands are handled, by whichever door they come. What may be written is said at each source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repeat: Literal["ignore", "reassert"] = Field(
        "ignore",
        description="The same value again from the same writer: ignore answers from the last result, and refuses when "
        "somebody changed it at the machine meanwhile; reassert sends it again then.",
    )
    confirm_within: Duration = Field(
        2.0, ge=0.2, le=60, description="How long the machine may take to read back what was asked."
    )
    waiting: int = Field(50, ge=1, le=1000, description="Commands that may wait for one machine.")
    journal_rows: int = Field(100_000, ge=1000, description="Commands kept in the journal.")
    journal_age: Duration = Field(90 * 86_400.0, ge=3600, description="How long they are kept.")
