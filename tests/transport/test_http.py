"""One factory for every HTTP client, and one table of what an error means."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited, SourceError
from bridge.transport.http import (
    ERRORS,
    RETRY_AFTER,
    Answer,
    basic_auth,
    exception_error,
    fetch,
    goes_in_clear,
    http_client,
    status_error,
    tls_context,
    translated,
)
from tests.broker import free_port


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


ROOTS = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)
EVERY_HTTPX_ERROR = sorted({kind for root in ROOTS for kind in subclasses(root)}, key=lambda kind: kind.__name__)
ABSTRACT = {"HTTPError", "RequestError", "TransportError", "TimeoutException", "ProtocolError"}


def make(kind: type[Exception]) -> Exception:
    """An instance of an httpx exception, whatever its constructor wants."""
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://panel")
        return httpx.HTTPStatusError("teapot", request=request, response=httpx.Response(418, request=request))
    return Exception.__new__(kind)


@pytest.mark.parametrize("kind", EVERY_HTTPX_ERROR)
def test_every_exception_of_httpx_becomes_one_of_ours(kind: type[Exception]) -> None:
    translation = exception_error(make(kind), "the panel")
    assert isinstance(translation, SourceError)
    assert "{" not in str(translation)


@pytest.mark.parametrize("kind", [kind for kind in EVERY_HTTPX_ERROR if kind.__name__ not in ABSTRACT])
def test_no_concrete_exception_falls_to_the_last_row(kind: type[Exception]) -> None:
    assert next(theirs for theirs, _, _ in ERRORS if issubclass(kind, theirs)) is not httpx.HTTPError


def test_no_row_of_the_table_hides_a_later_one() -> None:
    kinds = [theirs for theirs, _, _ in ERRORS]
    for index, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:index]), kind


def test_an_exception_that_is_not_httpx_passes_untouched() -> None:
    with pytest.raises(KeyError), translated("the panel"):
        raise KeyError("ours")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_the_system_said_of_a_refused_connection_is_told(host: str) -> None:
    async with http_client(f"http://{host}:{free_port()}") as client:
        with pytest.raises(NotConnected, match=f"{host} cannot be reached: connection refused"):
            await fetch(client, "GET", "/")


def test_a_name_nobody_knows_wants_to_be_looked_at_as_it_is_written() -> None:
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    translation = exception_error(error, "no.such.host")
    assert isinstance(translation, NotConnected)
    assert str(translation) == "no.such.host cannot be reached: name or service not known"
    assert translation.advice == "Is the name written right, and does DNS know it?"


def test_an_untrusted_certificate_is_named_as_such() -> None:
    error = httpx.ConnectError("handshake")
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")
    translation = exception_error(error, "192.168.1.10")
    assert isinstance(translation, NotConnected)
    assert "certificate of 192.168.1.10 is not trusted" in str(translation)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthFailed),
        (403, AuthFailed),
        (407, AuthFailed),
        (408, NotConnected),
        (429, RateLimited),
        (502, NotConnected),
        (503, NotConnected),
        (504, NotConnected),
        (301, ProtocolError),
        (404, ProtocolError),
        (500, ProtocolError),
    ],
)
def test_status_says_what_to_do_next(status: int, kind: type[SourceError]) -> None:
    error = status_error(status, "192.168.1.10", "the vendor's words")
    assert type(error) is kind
    assert "192.168.1.10" in str(error)
    assert "the vendor's words" in str(error)


def client_for(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return http_client("http://panel", transport=httpx.MockTransport(handler))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 30.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT", "Date": "Thu, 01 Jan 2026 00:00:30 GMT"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}, RETRY_AFTER),
        ({"Retry-After": "soon"}, RETRY_AFTER),
        ({}, RETRY_AFTER),
    ],
)
async def test_rate_limit_carries_the_wait_the_vendor_asked_for(headers: dict[str, str], seconds: float) -> None:
    async with client_for(lambda request: httpx.Response(429, headers=headers)) as client:
        answer = await fetch(client, "GET", "/")
    with pytest.raises(RateLimited) as caught:
        answer.reached()
    assert caught.value.retry_after == seconds


async def test_answer_of_any_status_is_given_back_whole() -> None:
    async with client_for(lambda request: httpx.Response(404, content=b"nothing here")) as client:
        answer = await fetch(client, "GET", "/x")
    assert (answer.status, answer.body, answer.where) == (404, b"nothing here", "panel")
    assert answer.reached() is answer
    with pytest.raises(ProtocolError, match="status 404: none"):
        answer.expect(200, "none")


async def test_body_longer_than_the_limit_is_refused() -> None:
    async with client_for(lambda request: httpx.Response(200, content=b"x" * 101)) as client:
        with pytest.raises(ProtocolError, match="longer than 100 bytes"):
            await fetch(client, "GET", "/", limit=100)


async def test_redirect_is_not_followed() -> None:
    async with client_for(lambda request: httpx.Response(302, headers={"Location": "http://elsewhere"})) as client:
        assert (await fetch(client, "GET", "/")).status == 302


async def test_json_body_is_sent_with_its_type() -> None:
    async with client_for(lambda request: httpx.Response(200, content=request.content, headers=request.headers)) as c:
        answer = await fetch(c, "POST", "/", json=b'{"a":1}')
    assert answer.body == b'{"a":1}'
    assert answer.headers["content-type"] == "application/json"


def test_password_with_plus_and_slash_travels_in_a_header() -> None:
    header = basic_auth("machine", "VoMZ+KZK/4K")["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")) == b"machine:VoMZ+KZK/4K"


async def test_every_client_of_the_factory_is_built_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made for a reconnect must not lose what the first one had (limits, time-outs, headers)."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    made = [http_client("http://panel", headers={"A": "b"}, timeout=12, max_connections=3) for _ in range(2)]
    for client in made:
        assert client.timeout == httpx.Timeout(12, connect=5)
        assert client.headers["A"] == "b"
        assert client.trust_env is False
        assert client.follow_redirects is False
        await client.aclose()


def test_certificate_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match=r"missing\.crt"):
        tls_context(str(tmp_path / "missing.crt"))
    broken = tmp_path / "broken.crt"
    broken.write_text("no certificate")
    with pytest.raises(NotConnected, match=r"broken\.crt"):
        tls_context(str(broken))


def test_certificates_are_verified_unless_told_otherwise() -> None:
    assert tls_context().verify_mode is ssl.CERT_REQUIRED
    assert tls_context().check_hostname
    assert tls_context(verify=False).verify_mode is ssl.CERT_NONE


def test_address_that_is_none_is_an_error_of_ours() -> None:
    with pytest.raises(ProtocolError):
        http_client("http://panel:port")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "No active step", "message": "later"}', "No active step"),
        (b'{"message": "Chart not found"}', "Chart not found"),
        (b'{"errors": ["a", "b"]}', "['a', 'b']"),
        (b'{"error": "' + b"x" * 300 + b'"}', "x" * 200),
        (b'{"error": null}', ""),
        (b'["error"]', ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_words_of_a_refusal(body: bytes, said: str) -> None:
    assert Answer("vendor", 422, {}, body).words == said


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("Tue, 10 Mar 2026 09:00:00 GMT", 0), ("Tue, 10 Mar 2026 09:00:00 -0000", None), ("soon", None), (None, None)],
)
def test_date_of_an_answer(header: str | None, seconds: int | None) -> None:
    date = Answer("vendor", 200, {} if header is None else {"date": header}, b"").date
    assert (date is None) == (seconds is None)
    assert date is None or date.isoformat() == "2026-03-10T09:00:00+00:00"


def test_nobody_asks_to_wait_where_nothing_is_said() -> None:
    assert Answer("vendor", 429, {}, b"").asks_to_wait is None
    assert Answer("vendor", 429, {"retry-after": "7"}, b"").asks_to_wait == 7


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("http://panel.example/x", True),
        ("https://panel.example", False),
        ("http://127.0.0.1:1", False),
        ("http://[::1]", False),
    ],
)
def test_what_goes_in_clear(url: str, in_clear: bool) -> None:
    assert goes_in_clear(url) is in_clear
