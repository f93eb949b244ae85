"""What a person says about commands in `commands:`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bridge.model.email import is_email
from bridge.transport.duration import Duration

MOST_PEOPLE = 10_000


def _name(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("a blank at its end, or a character that cannot be seen, would never be found again")
    return text


def _email(text: str) -> str:
    if not is_email(text):
        raise ValueError("this is no e-mail address")
    return text


Badge = Annotated[str, AfterValidator(_name), Field(min_length=1, max_length=64)]
Email = Annotated[str, AfterValidator(_email)]


class CommandsConfig(BaseModel):
    """How commands are handled, by whichever door they come. What may be written is said at each source."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

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
    people: dict[Badge, Email] = Field(
        default_factory=dict,
        max_length=MOST_PEOPLE,
        repr=False,
        description="E-mail address of each badge number (in quotes) or user name, for vendors that book by it.",
    )
    people_only: bool = Field(
        False, description="Take nobody who is not in people: an e-mail address itself is refused then."
    )
