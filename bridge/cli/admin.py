"""AdminClient: a running bridge seen through its admin API."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 90.0
"""A command waits for others of its machine, is sent, and is read back."""
SILENCE_S = 40.0
"""The stream has a heart-beat every 15 s: a longer silence is a dead connection."""

TOKEN_FILE = "admin.token"  # noqa: S105 - a file name
ADDRESS_FILE = "admin.json"


def access_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which bridge is meant."""
    for option in reversed(
        (
            click.option(
                "--state-dir",
                type=click.Path(path_type=Path, file_okay=False),
                envvar="PLANTBRIDGE_STATE_DIR",
                help="State directory of the bridge: its address and token are there.  [env: PLANTBRIDGE_STATE_DIR]",
            ),
            click.option("--url", help=f"Address of the admin API.  [default: {DEFAULT_URL}]"),
            click.option("--token", envvar="PLANTBRIDGE_TOKEN", help="Admin token.  [env: PLANTBRIDGE_TOKEN]"),
        )
    ):
        function = option(function)
    return function


class Unreachable(click.ClickException):
    """The bridge does not answer now; says what to do."""


class Unanswered(click.ClickException):
    """A command left, and its answer was lost."""

    def __init__(self) -> None:
        super().__init__(
            "the bridge went away before it answered: it is not known whether the machine took it.\n"
            "Look at the machine before anything is repeated; when the bridge runs again: plantbridge commands list"
        )


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Access:
    """Where a bridge's admin API is, and the token it wants."""

    url: str
    token: str
    certificate: Path | None = None
    """The one that answers there, where its own state directory says so; else it must be known to the world."""

    @classmethod
    def found(cls, url: str | None, token: str | None, state_dir: Path | None) -> Access:
        """From what was given; what was not comes from the state directory. Raises click.UsageError."""
        certificate = None
        if state_dir is not None:
            _offer_simulated(state_dir)
            token = token or _read(state_dir / TOKEN_FILE).strip()
            if not url:
                url, certificate = _address(state_dir / ADDRESS_FILE)
        if not token:
            raise click.UsageError("say which bridge: --state-dir DIR, or --token TOKEN and --url URL")
        if not token.isascii() or not token.isprintable():
            raise click.UsageError("this is no admin token: it has characters that cannot be sent")
        return cls((url or DEFAULT_URL).rstrip("/"), token, certificate)


class AdminClient:
    """Asks a bridge; raises `Unreachable` (try again) or another click.ClickException (do not)."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def tags(self, globs: Sequence[str]) -> list[dict[str, Any]]:
        """Every tag that matches."""
        async with self._answer("/api/v1/tags", globs, TIMEOUT_S) as response:
            body: dict[str, Any] = json.loads(await response.aread())
            tags: list[dict[str, Any]] = body["tags"]
            return tags

    async def stream(self, globs: Sequence[str]) -> AsyncIterator[tuple[str, Any]]:
        """Events of the stream: name and data, until the connection ends."""
        async with self._answer("/api/v1/stream", globs, SILENCE_S) as response:
            name = ""
            async for line in response.aiter_lines():
                field, _, content = line.partition(": ")
                if field == "event":
                    name = content
                elif field == "data":
                    yield name, json.loads(content)

    async def lines(self, path: str, query: Mapping[str, str | Sequence[str]]) -> AsyncGenerator[bytes, None]:
        """What a route streams, in pieces that end anywhere, until the connection ends."""
        async with self._answer(path, (), SILENCE_S, query=query) as response:
            async for piece in response.aiter_bytes():
                yield piece

    async def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """What a route answers, as JSON."""
        async with self._answer(path, (), TIMEOUT_S, query=query) as response:
            body: dict[str, Any] = json.loads(await response.aread())
            return body

    async def health(self) -> tuple[bool, Sequence[str]]:
        """Whether the bridge is ready, and why not; a bridge that cannot start tells that too."""
        async with self._answer("/readyz", (), TIMEOUT_S, refusals=False) as response:
            body: dict[str, Any] = json.loads(await response.aread())
            return bool(body["ready"]), [str(reason) for reason in body["why_not_ready"]]

    async def text(self, path: str, query: Mapping[str, str | Sequence[str]]) -> str:
        """What a route answers, as text."""
        async with self._answer(path, (), TIMEOUT_S, query=query) as response:
            return (await response.aread()).decode()

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a route answers to `body`."""
        async with self._answer(path, (), TIMEOUT_S, body=body) as response:
            answer: dict[str, Any] = json.loads(await response.aread())
            return answer

    async def command(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """How a command ended; that may take as long as the machine does. Raises `Unanswered` where nobody knows."""
        try:
            async with self._answer(path, (), COMMAND_TIMEOUT_S, body=body) as response:
                answer: dict[str, Any] = json.loads(await response.aread())
                return answer
        except Unreachable as error:
            if isinstance(error.__cause__, _NEVER_SENT) or error.__cause__ is None:
                raise
            raise Unanswered from error

    @asynccontextmanager
    async def _answer(
        self,
        path: str,
        globs: Sequence[str],
        timeout_s: float,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        body: Mapping[str, Any] | None = None,
        refusals: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        url = self._access.url
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body)
        params = {"q": list(globs)} if query is None else dict(query)
        headers = {"Authorization": f"Bearer {self._access.token}"}
        try:
            async with (
                httpx.AsyncClient(
                    timeout=httpx.Timeout(TIMEOUT_S, read=timeout_s),
                    trust_env=False,
                    verify=_verification(self._access.certificate),
                ) as client,
                client.stream(method, url + path, params=params, headers=headers, content=content) as response,
            ):
                if refusals:
                    await _accepted(response, url)
                yield response
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise click.UsageError(f"{url} is no URL of a bridge; expected {DEFAULT_URL}") from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"no bridge answers at {url} ({reason}); start it with: plantbridge run") from error
        except (ValueError, KeyError):
            raise click.ClickException(f"what answers at {url} is not a bridge") from None


async def _accepted(response: httpx.Response, url: str) -> None:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise click.ClickException(f"the bridge at {url} refuses this token; give the --state-dir of that very bridge")
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise Unreachable(f"the bridge at {url} is busy: too many are watching")
    if response.is_error:
        await response.aread()
        raise click.ClickException(f"the bridge at {url} answers {response.status_code}: {_detail(response)}")


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "it is perhaps no bridge"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        hint = "is this the state directory of a bridge that has run?"
        raise click.ClickException(f"{path} cannot be read: {reason}; {hint}") from None


def running(state_dir: Path) -> Path:
    """The state directory in use: a simulated bridge keeps its own beside it."""
    simulated = Path(f"{state_dir}-simulated")
    return simulated if (simulated / ADDRESS_FILE).exists() and not (state_dir / ADDRESS_FILE).exists() else state_dir


def _offer_simulated(state_dir: Path) -> None:
    """`run --simulate` keeps its state apart: say so where only that one runs."""
    simulated = running(state_dir)
    if simulated != state_dir:
        raise Unreachable(f"the bridge of {state_dir} does not run, a simulated one does: --state-dir {simulated}")


def _verification(certificate: Path | None) -> ssl.SSLContext | bool:
    """Exactly this certificate, whatever name it is for: the state directory says that it is the bridge's."""
    if certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except OSError as error:
        raise click.ClickException(f"{certificate}, which the bridge shows, cannot be read: {error}") from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be an authority's
    return context


def _address(path: Path) -> tuple[str, Path | None]:
    if not path.exists():
        raise Unreachable(f"the bridge of {path.parent} does not run; start it with: plantbridge run")
    try:
        told = json.loads(_read(path))
        certificate = told.get("certificate")
        return str(told["url"]), Path(certificate) if certificate else None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.ClickException(f'{path} is damaged; expected {{"url": "{DEFAULT_URL}"}}') from None
