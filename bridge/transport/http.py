"""HTTP: one factory for every client, first or re-made, and one table of what an error means to the caller.

    httpx exception or status  ->  NotConnected | AuthFailed | RateLimited | ProtocolError

No redirects are followed and no proxy or netrc of the environment is used unless asked for: a vendor is where the
configuration says. Bodies are read up to a limit. Credentials travel in a header, never in a URL.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited, SourceError
from bridge.model.email import without_emails

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request at INFO

BODY_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a body; far more than any vendor's page, far less than would hurt."""

WORDS: Final = 200
"""Characters of a vendor's words that are repeated."""

KEEP_ALIVE: Final = 60.0
"""Seconds an idle connection is kept; longer than the slowest poll."""

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for TCP and TLS; a factory's network is near."""


def basic_auth(username: str, password: str) -> dict[str, str]:
    """The header of Basic authentication, RFC 7617 (UTF-8)."""
    word = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {word}"}


def goes_in_clear(url: str) -> bool:
    """What is sent to this address can be read on the way: it is not encrypted and leaves this computer."""
    parts = urlsplit(url)
    return parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost")


def tls_context(ca_file: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """How a server proves who it is: by the authority in `ca_file` and no other, else by the system's.

    Reads files: call it in a thread. Raises NotConnected where `ca_file` cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise NotConnected(
            f"The certificate file {ca_file} cannot be read: {error.strerror or error}",
            "Put a PEM file there, or correct ca_file",
        ) from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def http_client(
    base_url: str,
    *,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    max_connections: int = 4,
    max_keepalive: int = 1,
    trust_env: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A client for one vendor. `timeout` is for an answer, in seconds; `transport` replaces the network in tests.

    Raises ProtocolError where `base_url` is none.
    """
    with translated(base_url):
        return httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            verify=tls if tls is not None else base_url.startswith("https"),  # building a context costs 20 ms
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(
                max_connections=max_connections, max_keepalive_connections=max_keepalive, keepalive_expiry=KEEP_ALIVE
            ),
            follow_redirects=False,
            trust_env=trust_env,
            transport=transport,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of any status. `where` names the vendor in sentences ("192.168.1.10")."""

    where: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def expect(self, status: int = 200, words: str = "") -> Answer:
        """This answer, if it has that status. Raises what its status means, with the vendor's `words`."""
        if self.status == status:
            return self
        raise status_error(self.status, self.where, words, self.retry_after)

    def reached(self) -> Answer:
        """This answer, whatever it says, unless its status means that the vendor was not reached or will not talk."""
        if self.status in STATUSES:
            raise status_error(self.status, self.where, retry_after=self.retry_after)
        return self

    @property
    def date(self) -> datetime | None:
        """When it was made by the sender's clock, to the second; None where it does not say."""
        try:
            date = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return None
        return date if date.tzinfo is not None else None

    @property
    def words(self) -> str:
        """What a refusal in JSON says for a person, in one of the usual fields; "" where it says nothing.

        Shortened, and without e-mail addresses: it is logged, and shown to everybody.
        """
        try:
            said = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return ""
        found = (said.get(key) for key in ("error", "message", "detail", "errors")) if isinstance(said, dict) else ()
        words = next((each for each in found if each), "")
        return without_emails(words if isinstance(words, str) else str(words))[:WORDS]

    @property
    def retry_after(self) -> float:
        """Seconds to wait: what we are asked for, or the usual."""
        asked = self.asks_to_wait
        return RETRY_AFTER if asked is None else asked

    @property
    def asks_to_wait(self) -> float | None:
        """Seconds we are asked to wait (RFC 9110 10.2.3: a number, or a date, counted from the answer's own date)."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            until, date = parsedate_to_datetime(text), parsedate_to_datetime(self.headers.get("date", ""))
            return max(0.0, (until - date).total_seconds())
        except (ValueError, TypeError):  # TypeError: one with a time zone, one without
            return None


class BodyTooLong(ProtocolError):
    """An answer is longer than the limit: ask for less at a time."""


Trace = Callable[[str, Any], Awaitable[None]]
"""Hears of a request's steps by httpcore's names ("connection.connect_tcp.started"); what it raises ends the request.

Source: httpcore documentation, "Extensions", trace.
"""

CONNECTING: Final = "connection.connect_tcp.started"
SENDING: Final = "http11.send_request_headers.started"
"""Steps of a `Trace`: none of a request's bytes leave before SENDING."""


class Departure:
    """A `Trace` that knows whether a request has begun to leave: before that it certainly did nothing."""

    is_sending = False

    async def __call__(self, step: str, _: Any) -> None:
        """A step of the request."""
        self.is_sending |= step == SENDING


async def fetch(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    json: bytes | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    limit: int = BODY_LIMIT,
    timeout: float | None = None,
    trace: Trace | None = None,
) -> Answer:
    """Send one request and read its answer, whatever its status. `json` is an encoded body.

    `timeout` takes the place of the client's: seconds for each of connecting, sending and waiting for bytes. `trace`
    is told of every step on the wire.

    Raises NotConnected, or BodyTooLong where the body is longer than `limit` bytes.
    """
    where = client.base_url.host
    sent = dict(headers or {})
    if json is not None:
        sent["Content-Type"] = "application/json"
    patience = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout)
    extensions = {} if trace is None else {"trace": trace}
    with translated(where):
        async with client.stream(
            method, path, content=json, params=params, headers=sent, timeout=patience, extensions=extensions
        ) as response:
            return Answer(where, response.status_code, response.headers, await _body(response, limit))


async def _body(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise BodyTooLong(f"The answer of {response.url.host} is longer than {limit} bytes")
    return bytes(body)


ERRORS: Final[tuple[tuple[type[Exception], type[SourceError], str], ...]] = (
    (httpx.ConnectTimeout, NotConnected, "{where} does not answer"),
    (httpx.ReadTimeout, NotConnected, "{where} took the request and did not answer in time"),
    (httpx.WriteTimeout, NotConnected, "{where} did not take the request in time"),
    (httpx.PoolTimeout, NotConnected, "{where} has too many requests unanswered"),
    (httpx.ConnectError, NotConnected, "{where} cannot be reached: {error}"),
    (httpx.ProxyError, NotConnected, "The proxy before {where} refused: {error}"),
    (httpx.NetworkError, NotConnected, "The connection to {where} broke: {error}"),
    (httpx.RemoteProtocolError, NotConnected, "{where} broke off its answer: {error}"),
    (httpx.LocalProtocolError, ProtocolError, "The request to {where} cannot be sent: {error}"),
    (httpx.UnsupportedProtocol, ProtocolError, "The address of {where} is not http or https: {error}"),
    (httpx.InvalidURL, ProtocolError, "The address of {where} cannot be used: {error}"),
    (httpx.DecodingError, ProtocolError, "The answer of {where} cannot be decompressed: {error}"),
    (httpx.TooManyRedirects, ProtocolError, "{where} sends us round in circles"),
    (httpx.CookieConflict, ProtocolError, "{where} sent cookies that contradict each other"),
    (httpx.StreamError, ProtocolError, "The answer of {where} was read twice: {error}"),
    (httpx.HTTPStatusError, ProtocolError, "{where} refused the request: {error}"),
    (httpx.HTTPError, NotConnected, "The request to {where} failed: {error}"),
)
"""What an exception of httpx becomes: the first row that fits. Specific rows stand before general ones."""


@contextlib.contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn httpx's exceptions into ours. `where` names the vendor in sentences; it must not hold a secret."""
    try:
        yield
    except Exception as error:
        translation = exception_error(error, where)
        if translation is None:
            raise
        raise translation from error


def exception_error(error: Exception, where: str) -> SourceError | None:
    """Our error for one of httpx's; None for an exception that is none of httpx's."""
    refused = _certificate_fault(error)
    if refused is not None:
        return NotConnected(
            f"The certificate of {where} is not trusted: {refused}",
            "Copy the vendor's root certificate to this computer and name it as ca_file",
        )
    if any(isinstance(cause, socket.gaierror) for cause in _causes(error)):
        return NotConnected(
            f"{where} cannot be reached: {_words(error)}", "Is the name written right, and does DNS know it?"
        )
    for theirs, ours, sentence in ERRORS:
        if isinstance(error, theirs):
            return ours(sentence.format(where=where, error=_words(error)))
    return None


def _words(error: Exception) -> str:
    """What the system said, where that is behind it: anyio only says that all attempts failed."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno is not None:
            return system_words(cause)
    return str(error) or type(error).__name__


def system_words(error: OSError) -> str:
    """Of a name that is not known the resolver's words; else the system's for this number. A sentence's end."""
    words = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return (words or str(error)).lower()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it; of several attempts the first."""
    cause: BaseException | None = error
    for _ in range(8):  # a chain of causes is short; a circle of them must not hold us
        if cause is None:
            return
        yield cause
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__


def _certificate_fault(error: BaseException) -> str | None:
    """Why a certificate was refused, if that is what is behind `error`."""
    faults = (one for one in _causes(error) if isinstance(one, ssl.SSLCertVerificationError))
    fault = next(faults, None)
    return None if fault is None else str(getattr(fault, "verify_message", fault))


STATUSES: Final[Mapping[int, tuple[type[SourceError], str]]] = {
    401: (AuthFailed, "{where} refused our credentials"),
    403: (AuthFailed, "{where} does not allow us this"),
    407: (AuthFailed, "The proxy before {where} refused our credentials"),
    408: (NotConnected, "{where} gave up waiting for our request"),
    429: (RateLimited, "{where} asks us to slow down"),
    502: (NotConnected, "{where} answers, but what is behind it is not running (502)"),
    503: (NotConnected, "{where} is not available now (503)"),
    504: (NotConnected, "{where} answers, but what is behind it does not (504)"),
}
"""What a status means, whoever sends it; every other one is a ProtocolError with the vendor's words."""

RETRY_AFTER: Final = 60.0
"""Seconds to wait on a 429 that does not say how long."""


def status_error(status: int, where: str, words: str = "", retry_after: float = RETRY_AFTER) -> SourceError:
    """Our error for a status that was not expected. `words` are the vendor's own."""
    ours, sentence = STATUSES.get(status, (ProtocolError, "{where} answered with status {status}"))
    message = sentence.format(where=where, status=status) + (f": {words}" if words else "")
    return RateLimited(message, retry_after) if ours is RateLimited else ours(message)
