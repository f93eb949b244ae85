"""Outcomes: what a panel's answer to a mutation means, in one table. Pure.

    200 {"success": true}            accepted     the panel took it; whether it was understood only a readback tells
    200 {"success": false}           refused      BadInvalidState
    401 403 407                      refused      BadConfigurationError
    other 4xx                        refused      BadInvalidArgument
    500 "No Machine found"           refused      BadNotFound
    500 {"error": ...}               refused      BadInvalidState
    429 503, 502 at once             unreached    BadNotConnected
    anything else                    unknown      BadTimeout

A 502 is Caddy's, when it finds no control process: that is refused at once. One that comes late had been passed on to
a process that died of something. What a process takes with it when it dies is not kept anyway (facts 1, item 10).
Source: facts 3.2; recorded answers v1_mutate_* in tests/recorded/qitech.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.errors import ProtocolError
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources.qitech.payloads import parse_json, vendor_words

if TYPE_CHECKING:
    from bridge.transport.http import Answer

AT_ONCE: Final = 1.0
"""Seconds within which Caddy says 502 by itself."""

_NO_MACHINE: Final = "No Machine found"


def outcome_of(answer: Answer, took: float) -> Outcome:
    """What the panel's answer means; it took so many seconds."""
    status, words = answer.status, vendor_words(answer.body)
    if status == 200:
        return _taken(answer, words)
    if status in {401, 403, 407}:
        sentence = "The panel refuses our user name or password"
        return Outcome(Result.REFUSED, StatusCode.BadConfigurationError, sentence, None, status, words)
    if 400 <= status < 500 and status != 429:
        sentence = f"The panel refuses the command: {words or f'status {status}'}"
        return Outcome(Result.REFUSED, StatusCode.BadInvalidArgument, sentence, None, status, words)
    if status == 500 and _NO_MACHINE in words:
        sentence = f"The panel does not know this machine any more: {words}"
        return Outcome(Result.REFUSED, StatusCode.BadNotFound, sentence, None, status, words)
    if status == 500 and "error" in _object(answer.body):
        return Outcome(
            Result.REFUSED, StatusCode.BadInvalidState, f"The panel refuses the command: {words}", None, status, words
        )
    if status in {429, 503} or (status == 502 and took < AT_ONCE):
        return unreached(f"{answer.where} answers, but the panel behind it does not ({status})", status, words)
    return unknown(f"The panel answered with status {status}, which does not tell what became of it", status, words)


def _taken(answer: Answer, words: str) -> Outcome:
    success = _object(answer.body).get("success")
    if success is True:
        status = StatusCode.GoodCompletesAsynchronously
        return Outcome(Result.ACCEPTED, status, "The panel took the command", None, answer.status)
    if success is False:
        sentence = f"The panel refuses the command: {words}"
        return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, None, answer.status, words)
    return unknown("Something answered that is not the panel as we know it", answer.status, words)


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        content = parse_json(body)
    except ProtocolError:
        return {}
    return content if isinstance(content, dict) else {}


def unreached(sentence: str, code: int = 0, words: str = "") -> Outcome:
    """It was certainly not sent, or nobody took it."""
    return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence, None, code, words)


def unknown(sentence: str, code: int = 0, words: str = "") -> Outcome:
    """It may have been taken."""
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence, None, code, words)


def rejected(status: StatusCode, sentence: str) -> Outcome:
    """We do not send it."""
    return Outcome(Result.REJECTED, status, sentence)
