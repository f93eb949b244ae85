"""Outcomes: what an agent's answer to a write means, in one table. Pure. Source: facts 1.13; recorded/iotistica.

`succeeded` is the word of the device's driver: it took the write. Whether the machine followed is read, if at all.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode


class Meaning(NamedTuple):
    """Of one code."""

    result: Result
    status: StatusCode
    sentence: str


CODES: Final = {
    "INVALID_JSON": Meaning(Result.REFUSED, StatusCode.BadInvalidArgument, "The agent cannot read the command"),
    "INVALID_SCHEMA": Meaning(Result.REFUSED, StatusCode.BadInvalidArgument, "The agent does not take such a command"),
    "UNSUPPORTED_VERSION": Meaning(
        Result.REFUSED, StatusCode.BadNotSupported, "The agent knows another version of commands"
    ),
    "UNSUPPORTED_COMMAND_TYPE": Meaning(
        Result.REFUSED, StatusCode.BadNotSupported, "The agent, or the protocol of the device, has no writes"
    ),
    "COMMAND_EXPIRED": Meaning(
        Result.EXPIRED, StatusCode.BadTimeout, "It was too late for the agent: compare its clock with this computer's"
    ),
    "COMMAND_TOO_OLD": Meaning(
        Result.EXPIRED, StatusCode.BadTimeout, "It was too old for the agent: compare its clock with this computer's"
    ),
    "DUPLICATE_COMMAND": Meaning(
        Result.UNKNOWN, StatusCode.BadTimeout, "The agent had the command before, and does not say how it ended"
    ),
    "NODE_NOT_ALLOWED": Meaning(Result.REFUSED, StatusCode.BadUserAccessDenied, "The agent does not allow this point"),
    "DEVICE_NOT_CONNECTED": Meaning(
        Result.UNREACHED, StatusCode.BadNotConnected, "The agent has no connection to the device"
    ),
    "WRITE_REJECTED": Meaning(Result.REFUSED, StatusCode.BadInvalidState, "The device refuses it"),
    "WRITE_TIMEOUT": Meaning(Result.UNKNOWN, StatusCode.BadTimeout, "The device did not answer the agent in time"),
    "RETAINED_COMMAND_REJECTED": Meaning(
        Result.REFUSED, StatusCode.BadInvalidState, "The broker kept the command, and the agent takes none that is kept"
    ),
    "PAYLOAD_TOO_LARGE": Meaning(
        Result.REFUSED, StatusCode.BadInvalidArgument, "The agent does not take so long a command"
    ),
    "COMMAND_QUEUE_FULL": Meaning(
        Result.UNREACHED, StatusCode.BadTooManyOperations, "Too many commands wait at the agent"
    ),
    "INTERNAL_ERROR": Meaning(Result.UNKNOWN, StatusCode.BadTimeout, "The agent failed while it wrote"),
}
"""The agent's fifteen codes."""

_WORDS: Final = (
    ("NODE_NOT_ALLOWED", "not found", Meaning(Result.REFUSED, StatusCode.BadNotFound, "The agent has no such point")),
    (
        "NODE_NOT_ALLOWED",
        "not writable",
        Meaning(Result.REFUSED, StatusCode.BadNotWritable, "The point is not marked as writable at the agent"),
    ),
    ("WRITE_REJECTED", "timed out", CODES["WRITE_TIMEOUT"]),
    ("WRITE_REJECTED", "timeout", CODES["WRITE_TIMEOUT"]),
    *(
        ("WRITE_REJECTED", word, Meaning(Result.UNKNOWN, StatusCode.BadTimeout, "The connection to the device broke"))
        for word in ("econnreset", "epipe", "closed", "disconnect", "hang up", "connection lost", "communicationerror")
    ),
)
"""What the words beside a code tell more exactly: whatever a driver fails with is WRITE_REJECTED in the agent's code,
and one that waited in vain, or whose connection broke, may have written."""


def outcome_of(answer: dict[str, Any]) -> Outcome:
    """How a write ended, by the agent's answer."""
    status = answer.get("status")
    error = answer.get("error")
    code = str(error.get("code", "")) if isinstance(error, dict) else ""
    words = str(error.get("message", ""))[:300] if isinstance(error, dict) else ""
    if status == "succeeded":
        sentence = "The agent wrote it, and the device took it"
        return Outcome(Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously, sentence, vendor_text="succeeded")
    meaning = next((m for c, text, m in _WORDS if c == code and text in words.lower()), None) or CODES.get(code)
    if meaning is None:
        meaning = CODES["COMMAND_EXPIRED"] if status == "expired" else None
    if meaning is None:
        sentence = f"The agent answered {status} {code}".rstrip()
        refused = status == "rejected"
        meaning = Meaning(
            Result.REFUSED if refused else Result.UNKNOWN,
            StatusCode.BadInvalidArgument if refused else StatusCode.BadTimeout,
            f"{sentence}, which we do not know"[:300],
        )
    told = f"{code}: {words}".strip(": ")
    sentence = f"{meaning.sentence}: {words}" if words else meaning.sentence
    return Outcome(meaning.result, meaning.status, sentence, vendor_text=told)


def rejected(sentence: str, status: StatusCode = StatusCode.BadInvalidArgument) -> Outcome:
    """We do not send it."""
    return Outcome(Result.REJECTED, status, sentence)


def unreached(sentence: str) -> Outcome:
    """It was certainly not sent."""
    return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence)


def unknown(sentence: str) -> Outcome:
    """It may have been done."""
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence)
