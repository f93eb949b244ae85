"""Every error plantbridge raises, named by what the caller does next.

    BridgeError
      x ConfigError           print all its faults, exit 2, start nothing
      x NotEdited             a file was left as it was: tell the person what to write there instead, exit 1
      x AddressTaken          name the port and who wanted it, exit 1
      x StateDirectoryBusy    another bridge of this name runs: stay passive
      x NotRecorded           the journal could not take a command's step: refuse the command, send nothing
      x NotDeclared           say what there is, exit 1
      x NotBackedUp           no backup, or none put back: say why; nothing was changed
      x NotChanged            a setting stays as it is: say what there is
      x NotRecordable         no recording: say why, exit 1
      x HistoryUnreadable     answer the question with it; it may be asked again
      x StateDirectoryUnusable  say where and why, exit 1
      + SourceError           a vendor's room failed; the supervisor decides
        x NotConnected        connect again, with back-off
        x RateLimited         wait as told, then go on
        x AuthFailed          a person is needed; try again slowly (>= 60 s)
        x ProtocolError       skip this payload; if all fail, as NotConnected
      + LinkError             an MQTT session failed; its owner connects anew
        x LinkLost            the connection broke or was never made
        x LinkRefused         the broker said no: credentials, client id, protocol version
        x SubscribeRefused    the broker refused a topic filter: an ACL needs a person

Results of commands are values, not exceptions: see `bridge.model.command`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class BridgeError(Exception):
    """Root of the tree."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'did you mean "x"?' for the nearest known word whatever its case, or "" where none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = get_close_matches(word[:100].casefold(), list(by_folded), n=1, cutoff=0.6)
    return f'did you mean "{by_folded[near[0]]}"?' if near else ""


def counted(number: int, noun: str) -> str:
    """`1 machine`, `2 machines`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What a group of errors holds, however deep; any other error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file a person wrote.

    Printed as `file:line:column: key path: problem; expected …; did you mean …`.
    Lines and columns count from 1; 0 means "the file as a whole".
    """

    file: str
    line: int
    column: int
    key_path: str
    problem: str
    expected: str = ""
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{where}: {self.key_path}: {self.problem}" if self.key_path else f"{where}: {self.problem}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.hint:
            text += f"; {self.hint}"
        return text


class NotEdited(BridgeError):
    """A file a person wrote cannot be changed in place; it was left untouched."""


class ConfigError(BridgeError):
    """The configuration cannot be used; carries every fault found, not just the first."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


_ADVICE = {
    "in use": "; stop what listens there, or choose another port",
    "assign requested": "; host must be an address of this computer, or 0.0.0.0 for all it has",
}


class AddressTaken(BridgeError):
    """A port we were told to listen on is in use, or may not be bound."""

    def __init__(self, what: str, address: str, reason: str) -> None:
        advice = next((advice for words, advice in _ADVICE.items() if words in reason), "")
        super().__init__(f"{what} cannot listen on {address}: {reason}{advice}")
        self.what = what
        self.address = address


class StateDirectoryBusy(BridgeError):
    """The lock of the state directory is held by another process."""


class NotRecorded(BridgeError):
    """The journal could not write what a command does next; the message says why, for a person."""


class NotDeclared(BridgeError):
    """Declarations were asked for what is not there: a machine, a command, a dialect, an OPC UA server."""


class NotBackedUp(BridgeError):
    """A backup cannot be made, or cannot be put back; the message says why, and nothing was changed."""


class NotChanged(BridgeError):
    """A setting of a running bridge cannot be what was asked for; the message says what there is."""


class NotRecordable(BridgeError):
    """A recording was asked for what is not there, or there are too many already."""


class HistoryUnreadable(BridgeError):
    """The file with the history of tags, or that with the events, could not be read."""


class StateDirectoryUnusable(BridgeError):
    """The state directory cannot be made, or may not be written."""


class SourceError(BridgeError):
    """Root of what a source's `run` may raise."""


class NotConnected(SourceError):
    """The vendor cannot be reached. `advice` is what a person can do, where the room knows better than the house."""

    def __init__(self, message: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class RateLimited(SourceError):
    """The vendor asks us to wait `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthFailed(SourceError):
    """The vendor refused our credentials. `advice` is what a person can do, where the room knows better."""

    def __init__(self, message: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class ProtocolError(SourceError):
    """The vendor's answer does not have the shape its documents and recorded answers show."""


class LinkError(BridgeError):
    """Root of what an MQTT session may raise."""


class LinkLost(LinkError):
    """The MQTT connection broke, or was never made."""


class LinkRefused(LinkError):
    """The broker answered CONNECT with a refusal."""


class SubscribeRefused(LinkError):
    """The broker answered SUBSCRIBE with a refusal (SUBACK >= 0x80)."""
