"""Wire: one request of a profile to one server, and what its answer means. Decides nothing about trying again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from bridge.errors import NotConnected, ProtocolError, SourceError
from bridge.model.email import without_emails
from bridge.sources._vendorclock import VendorClock
from bridge.sources.iotistica.rest.config import SUFFIX
from bridge.transport.http import WORDS, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from bridge.ports import Clock
    from bridge.sources.iotistica.profile import Route
    from bridge.transport.http import Answer, Trace

VENDOR: Final = "Iotistica"


class Refused(ProtocolError):
    """Iotistica refused this request, not the account."""


class NotAllowed(Refused):
    """This user, or this key, may not ask for it."""


class Missing(Refused):
    """What was asked for is not there."""


class NotOffered(Refused):
    """The server has no such request, or its profile does not say how."""


class Unwell(NotConnected):
    """Something failed there (5xx): with this request, or with every one."""


class NotSent(NotConnected):
    """The request certainly did not leave."""


class Wire:
    """Requests of one server, while `connected`."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.root = url.removesuffix(SUFFIX)
        """Where what is no part of the API is counted from: /health, the WebSocket."""
        self.vendor_clock = VendorClock(clock)
        self.requests = 0
        self.unanswered = 0
        """Requests in a row that nobody answered."""
        self.last_error = ""
        self._http: httpx.AsyncClient | None = None

    @contextmanager
    def connected(self, http: httpx.AsyncClient) -> Iterator[None]:
        """Use this connection; its owner closes it."""
        self._http = http
        try:
            yield
        finally:
            self._http = None

    async def send(
        self, route: Route, values: Mapping[str, Any], headers: Mapping[str, str], trace: Trace | None = None
    ) -> Answer:
        """Send it once and give whatever was answered. Raises NotSent, NotConnected, ProtocolError."""
        if self._http is None or self._http.is_closed:
            raise NotSent(f"{VENDOR} is not connected now")
        target = route.target(values)
        url = f"{self.root}{target}" if target.startswith("/") else target
        content = route.content(values)
        body = None if content is None else orjson.dumps(content)
        self.requests += 1
        try:
            answer = await fetch(
                self._http, route.method, url, params=route.params(values) or None, headers=headers, json=body,
                trace=trace,
            )  # fmt: skip
        except SourceError as error:
            self.unanswered += 1
            self.last_error = str(error)
            raise
        self.unanswered = 0
        self.vendor_clock.hear(answer)
        if answer.status >= 400:
            self.last_error = f"{answer.status}: {words_of(answer) or 'without a word'}"
        return answer


def is_absent(answer: Answer) -> bool:
    """A 404 of an unknown route: it has no rate-limit headers, which every known one has (facts 1.2)."""
    return answer.status == 404 and not any(name.startswith("x-ratelimit") for name in answer.headers)


def failure_of(answer: Answer, what: str) -> SourceError:
    """What an answer that is none means, for this request."""
    words = words_of(answer) or "without a word"
    if is_absent(answer):
        return NotOffered(f"{VENDOR} has no such request here ({what}): another profile?")
    if answer.status == 404:
        return Missing(f"{VENDOR} has nothing of it ({what}): {words}")
    if answer.status in (401, 403):
        return NotAllowed(f"{VENDOR} does not allow it ({what}, {answer.status}): {words}")
    if answer.status >= 500:
        return Unwell(f"{VENDOR} answered {what} with {answer.status}: {words}")
    if answer.status >= 400:
        return Refused(f"{VENDOR} refused it ({what}, {answer.status}): {words}")
    return ProtocolError(f"{VENDOR} answered {what} with {answer.status}")


def words_of(answer: Answer) -> str:
    """What a refusal says for a person: its envelopes have a short `error` and, often, a `message` that says more."""
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return ""
    message = said.get("message") if isinstance(said, dict) and said.get("error") else None
    if not isinstance(message, str) or message == answer.words:
        return answer.words
    return f"{answer.words}: {without_emails(message)}"[:WORDS]


def decoded(answer: Answer, what: str) -> Any:
    """The answer's JSON. Raises ProtocolError."""
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        start = answer.body[:40].decode("utf-8", "replace")
        raise ProtocolError(f"{VENDOR} answered {what} with what is no JSON: {start!r}") from error
