"""A payload on a command topic as a command, or as the reason why it is none. Pure.

    {"value": 30}     {"args": {"Kp": 2, "Zone": "front"}}     {"id": "4711", "timestamp": "…Z", "expires": "…Z"}
    30      true      Heat                                     bare: the one argument there is

"params" is another word for "args". An empty payload is never a command: it is how a retained message is deleted.
Types are taken as they come: whether a value fits is said by whoever carries commands out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import orjson

from bridge.errors import did_you_mean
from bridge.model.command import Command, Door, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import DataType
from bridge.northbound.uns.commandable import VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.model.command import Argument
    from bridge.model.value import Value
    from bridge.northbound.uns.commandable import Commandable

EXPIRES_AFTER = timedelta(seconds=30)
"""Commands never come from the past (design.md section 6): no command waits longer, whatever it says itself."""
MAX_PAYLOAD = 64 * 1024
"""Bytes."""
MAX_ID, MAX_NAME = 128, 64
"""Characters of an id, and of a claimed name."""
KEYS = ("value", "args", "params", "id", "timestamp", "expires", "user")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


class Arrival(NamedTuple):
    """What a payload does not say itself. `unique` identifies a command without an id."""

    role: Role
    now: datetime
    unique: str
    retained: bool = False
    expiry_s: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class Request(NamedTuple):
    """What came: the client's own id, and the command or the refusal."""

    identifier: str | int | None
    content: Command | Outcome


class _Malformed(Exception):
    """This payload is no command; says why."""


def read(payload: bytes, asked: Commandable, arrival: Arrival) -> Request:
    """The command a payload asks for. Never raises."""
    identifier: str | int | None = None
    try:
        document = _document(payload, asked)
        identifier = _identifier(document)
        _expect_known(document, KEYS, "key")
        return Request(identifier, _command(document, identifier, asked, arrival))
    except _Malformed as problem:
        sentence = f"{problem}. Expected {asked.expected}; for example {asked.example}"
        return Request(identifier, refusal(StatusCode.BadInvalidArgument, sentence))


def refusal(status: StatusCode, sentence: str) -> Outcome:
    """Something this door says no to itself."""
    return Outcome(Result.REJECTED, status, sentence)


def _document(payload: bytes, asked: Commandable) -> dict[str, Any]:
    """The payload as an object; a bare value as {"value": …}."""
    if len(payload) > MAX_PAYLOAD:
        raise _Malformed(f"The payload has {len(payload)} bytes; at most {MAX_PAYLOAD} are read")
    if not payload.strip():
        raise _Malformed("The payload is empty")
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return {VALUE: _bare_text(payload, str(error))}
    if isinstance(content, dict):
        return content
    if isinstance(content, list) or content is None:
        raise _Malformed("The payload is a JSON list" if content is not None else "The payload is null")
    if not isinstance(content, str) and _wants_text(asked):
        return {VALUE: payload.decode().strip()}
    return {VALUE: content}


def _bare_text(payload: bytes, problem: str) -> str:
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        raise _Malformed("The payload is neither JSON nor text") from None
    if not text:
        raise _Malformed("The payload is empty")
    if text[0] in '{["':
        raise _Malformed(f"The payload is not JSON: {problem}")
    return text


def _wants_text(asked: Commandable) -> bool:
    return len(asked.arguments) == 1 and asked.arguments[0].data_type is DataType.String


def _command(document: dict[str, Any], identifier: str | int | None, asked: Commandable, arrival: Arrival) -> Command:
    issued = min(_moment(document, "timestamp") or arrival.now, arrival.now)  # a clock ahead of ours says no more
    ends = [issued + EXPIRES_AFTER, _moment(document, "expires")]
    if arrival.expiry_s is not None:
        ends.append(arrival.now + timedelta(seconds=min(arrival.expiry_s, EXPIRES_AFTER.seconds)))
    client, user = _claimed(arrival.user_properties, "client_id"), _user(document, arrival)
    return Command(
        id=f"uns:{arrival.unique}" if identifier is None else f"uns:{quote(client, safe='') or '-'}:{identifier}",
        target=asked.target,
        arguments=_arguments(document, asked),
        door=Door.UNS,
        requester=f"claimed:{user or client}" if user or client else "uns",
        issued=issued,
        expires=min(end for end in ends if end is not None),
        role=arrival.role,
        retained=arrival.retained,
    )


def _arguments(document: dict[str, Any], asked: Commandable) -> dict[str, Value]:
    given = [key for key in (VALUE, "args", "params") if key in document]
    if len(given) > 1:
        raise _Malformed(f'"{given[0]}" and "{given[1]}" cannot be given both')
    values = _by_name(document[given[0]], given[0], asked) if given else {}
    known = {argument.name: argument for argument in asked.arguments}
    _expect_known(values, tuple(known), "argument")
    missing = [name for name, argument in known.items() if name not in values and argument.initial is None]
    if missing:
        raise _Malformed(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return {name: _value(value, known[name]) for name, value in values.items()}


def _by_name(content: Any, key: str, asked: Commandable) -> Mapping[str, Any]:
    if key != VALUE:
        if not isinstance(content, dict):
            raise _Malformed(f'"{key}" is not a JSON object')
        return content
    if len(asked.arguments) == 1:
        return {asked.arguments[0].name: content}
    if content is True and all(argument.initial is not None for argument in asked.arguments):
        return {}
    raise _Malformed("One value is not what this command takes")


def _value(content: Any, argument: Argument) -> Value:
    if content is None or isinstance(content, dict | list):
        kind = "null" if content is None else "an object" if isinstance(content, dict) else "a list"
        raise _Malformed(f"{argument.name} is {kind}")
    if argument.data_type is DataType.DateTime:
        return _time(content, argument.name)
    value: bool | int | float | str = content
    return value


def _expect_known(given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known)
            raise _Malformed(f"Unknown {what} {key[:100]!r}{'; ' if hint else ''}{hint}".rstrip("?"))


def _identifier(document: Mapping[str, Any]) -> str | int | None:
    identifier = document.get("id")
    if identifier is None:
        return None
    is_text = isinstance(identifier, str) and identifier.isprintable() and 0 < len(identifier) <= MAX_ID
    is_number = isinstance(identifier, int) and not isinstance(identifier, bool)
    if not is_text and not is_number:
        raise _Malformed(f'"id" is neither a number nor a text of 1 to {MAX_ID} printable characters')
    accepted: str | int = identifier
    return accepted


def _moment(document: Mapping[str, Any], key: str) -> datetime | None:
    return None if document.get(key) is None else _time(document[key], f'"{key}"')


def _time(content: Any, name: str) -> datetime:
    """UTC in whole milliseconds, from RFC 3339 or milliseconds since 1970."""
    if isinstance(content, int | float) and not isinstance(content, bool) and 0 <= content <= _MAX_MS:
        return _EPOCH + timedelta(milliseconds=int(content))
    try:
        moment = datetime.fromisoformat(content)
        if moment.tzinfo is None:
            raise _Malformed(f"{name} has no time zone; write 2026-01-31T12:00:00Z")
        moment = moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise _Malformed(f"{name} is not a time; write 2026-01-31T12:00:00Z") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _user(document: Mapping[str, Any], arrival: Arrival) -> str:
    user = document.get("user")
    if user is not None and not isinstance(user, str):
        raise _Malformed('"user" is not a text')
    return _claimed(arrival.user_properties, "user") or _printable(user or "")


def _claimed(properties: tuple[tuple[str, str], ...], key: str) -> str:
    return next((_printable(content) for name, content in properties if name == key), "")


def _printable(text: str) -> str:
    return "".join(one for one in text[: 4 * MAX_NAME] if one.isprintable()).strip()[:MAX_NAME]
