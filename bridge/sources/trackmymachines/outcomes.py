"""Outcomes: what TrackMyMachines' answer to a write means, in one table. Pure. Source: facts 2.2 no. 26, 2.5.

Its words come first, for no page tells the statuses of most refusals. A 5xx says nothing: it may be a proxy's, and what
is behind it may have done it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from bridge.transport.http import Answer

WORDS: Final = (
    ("machine not found", StatusCode.BadNotFound, "TrackMyMachines has no machine of this display name"),
    ("user not found", StatusCode.BadInvalidArgument, "TrackMyMachines has nobody of this e-mail address"),
    ("no active step", StatusCode.BadInvalidState, "No step runs on the machine"),
    ("invalid end", StatusCode.BadOutOfRange, "TrackMyMachines does not take this end"),
    ("write permission", StatusCode.BadUserAccessDenied, "The API key may only read"),
)
"""What a refusal says, in lower case, and what that means."""


def refusal(answer: Answer) -> Outcome | None:
    """How a write ended that was refused; None: it was done, or nobody can tell by this answer."""
    status, words = answer.status, answer.words
    if status < 400 or status >= 500 or status == 408:
        return None
    for text, code, sentence in WORDS:
        if text in words.lower():
            return Outcome(Result.REFUSED, code, f"{sentence}: {words}", None, status, words)
    if status == 401:
        sentence = "TrackMyMachines refuses the API key: it is invalid or has expired"
        return Outcome(Result.UNREACHED, StatusCode.BadConfigurationError, sentence, None, status, words)
    if status == 429:
        sentence = "TrackMyMachines asks us to slow down; it was not done"
        return Outcome(Result.UNREACHED, StatusCode.BadTooManyOperations, sentence, None, status, words)
    if status == 403:
        sentence = f"TrackMyMachines does not allow it: {words}"
        return Outcome(Result.REFUSED, StatusCode.BadUserAccessDenied, sentence, None, status, words)
    if status == 404:
        sentence = f"TrackMyMachines has no such request: is edition right? {words}".rstrip()
        return Outcome(Result.REFUSED, StatusCode.BadNotSupported, sentence, None, status, words)
    sentence = f"TrackMyMachines refuses it: {words or f'status {status}'}"
    return Outcome(Result.REFUSED, StatusCode.BadInvalidArgument, sentence, None, status, words)


def rejected(sentence: str, status: StatusCode = StatusCode.BadInvalidState) -> Outcome:
    """We do not send it."""
    return Outcome(Result.REJECTED, status, sentence)


def unreached(sentence: str) -> Outcome:
    """It was certainly not sent."""
    return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence)


def unknown(sentence: str, code: int = 0, words: str = "") -> Outcome:
    """It may have been done."""
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence, None, code, words)
