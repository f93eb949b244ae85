"""Profile: what an Iotistica server's API looks like. Everything that differs between servers is data here.

The vendor's published page and its code disagree on about half of the paths (facts 1.2), so no path, body, place of an
answer or limit stands in code. `routes` may lack what a server does not offer: what would use it is then left alone.

    path    "agents/{agent}"        below the API's address; one that begins with / is counted from the host
    query, body                     "$name" becomes what the bridge fills in; what is not known is left out
    read    rows: [/agents, ""]     JSON pointers (RFC 6901) into the answer: the first that is there; "" is all of it
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bridge.transport.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Bucket = Literal["general", "auth", "device", "admin"]
"""What the vendor counts apart."""

BUCKETS: Final[tuple[Bucket, ...]] = ("general", "auth", "device", "admin")

_PLACE = re.compile(r"\{([a-z_]+)\}")
_VARIABLE = re.compile(r"\$([a-z_]+)\Z")


class Needs(NamedTuple):
    """What the bridge fills into a route, what it must read of the answer, and what it may."""

    given: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    may_read: frozenset[str] = frozenset()


def _needs(given: str = "", read: str = "", may_read: str = "") -> Needs:
    return Needs(*(frozenset(words.split()) for words in (given, read, may_read)))


ROUTES: Final[Mapping[str, Needs]] = {
    "health": _needs(),
    "login": _needs("username password", "access", "refresh expires_in must_change"),
    "refresh": _needs("refresh", "access", "refresh expires_in"),
    "agents": _needs("page limit", "rows", "pages"),
    "agent": _needs("agent", "", "device target current"),
    "agent_metrics": _needs("agent limit", "rows"),
    "device_health": _needs("agent", "rows", "summary"),
    "reported_devices": _needs("agent", "rows"),
    "readings_latest": _needs("agent metrics", "rows"),
    "readings_series": _needs("agent metric start end limit", "rows"),
    "readings_query": _needs("start queries", "results"),
    "readings_hourly": _needs("agent metric start end", "rows"),
    "readings_daily": _needs("agent metric start end", "rows"),
    "incidents": _needs("status limit offset", "rows"),
    "incident": _needs("incident", "incident"),
    "incident_resolve": _needs("incident by notes", "", "incident"),
    "alerts": _needs("since limit offset", "rows"),
    "jobs": _needs("agent limit offset", "rows"),
    "job": _needs("agent job", "job", "statuses"),
    "job_execute": _needs("agent name document template timeout_minutes", "job"),
    "job_cancel": _needs("agent job"),
    "fleets": _needs("", "rows"),
    "audit": _needs("limit", "rows"),
    "ingestion": _needs("", "", "healthy last spooling backlog"),
    "reading_insert": _needs("agent metric value unit quality protocol extra"),
    "target_state": _needs("agent apps config"),
}
"""Every request the bridge may make, by name. There is no other: what is not here cannot be sent."""

REQUIRED: Final = ("login", "agents")
"""Without these nothing can be read."""


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError('not a JSON pointer: it begins with /, or is "" for the whole answer')
    return text


Pointer = Annotated[str, AfterValidator(_pointer), Field(max_length=200)]


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Route(_Rules):
    """One request."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    path: str = Field(min_length=1, max_length=300, description="Below the API's address; with / first, of the host.")
    auth: Literal["none", "user", "device"] = Field(
        "user", description="Who asks: nobody, the user, or the agent itself by its device key."
    )
    bucket: Bucket = Field("general", description="Which of the vendor's limits counts it.")
    query: dict[str, str | int] = Field(default_factory=dict, description="Query; $name is filled in.")
    body: dict[str, Any] | None = Field(None, description="Body; $name is filled in.")
    read: dict[str, tuple[Pointer, ...]] = Field(default_factory=dict, description="Where things are in the answer.")

    def target(self, values: Mapping[str, Any]) -> str:
        """Path with what belongs into it, safely quoted. Raises KeyError."""
        return _PLACE.sub(lambda place: quote(str(values[place[1]]), safe=""), self.path)

    def params(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The query; what is not known is left out."""
        filled = fill(self.query, values)
        return {name: _text(value) for name, value in filled.items()}

    def content(self, values: Mapping[str, Any]) -> Any:
        """The body; None where there is none."""
        return None if self.body is None else fill(self.body, values)

    def find(self, name: str, answer: Any) -> Any:
        """What stands where `read` says; None where nothing does."""
        return next((found for each in self.read.get(name, ()) if (found := at(each, answer)) is not None), None)

    def names(self) -> Iterator[str]:
        """What must or may be filled in."""
        yield from _PLACE.findall(self.path)
        yield from _variables(self.query)
        yield from _variables(self.body)


class Throttle(_Rules):
    """How the server says that we ask too often. The code answers 500 where the page promises 429 (facts 1.4)."""

    statuses: tuple[int, ...] = Field((429,), description="These statuses say so.")
    retry_after: bool = Field(True, description="Every refusal with a Retry-After says so.")
    words: dict[int, str] = Field(default_factory=dict, description="A status says so where its error begins so.")

    def is_meant(self, status: int, has_retry_after: bool, words: str) -> bool:
        """Whether an answer says that we ask too often."""
        if status in self.statuses:
            return True
        if status < 400:
            return False
        if self.retry_after and has_retry_after:
            return True
        said = self.words.get(status)
        return said is not None and words.casefold().startswith(said.casefold())


class SocketRoute(_Rules):
    """The WebSocket of an agent's health. The shell it also offers is not among the channels that can be asked for."""

    path: str = Field("/ws", pattern=r"^/", description="Counted from the host.")
    query: dict[str, str] = Field(description="Query; $token and $agent are filled in.")
    channels: tuple[Literal["system-info", "history", "network-interfaces", "logs"], ...] = Field(min_length=1)

    def params(self, token: str, agent: str) -> dict[str, str]:
        """The query."""
        return {name: str(value) for name, value in fill(self.query, {"token": token, "agent": agent}).items()}


class Profile(_Rules):
    """One kind of server."""

    profile: str = Field(min_length=1, max_length=100, description="Its name.")
    limits: dict[Bucket, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        description="Requests a minute that the server allows."
    )
    throttle: Throttle = Field(default_factory=lambda: Throttle.model_validate({}))
    token_life: Duration = Field(900.0, ge=60, le=30 * 86_400, description="Where neither token nor answer says it.")
    metric_names: str = Field(
        ".{1,200}", max_length=200, description="Regular expression of names that readings can be asked for by."
    )
    websocket: SocketRoute | None = None
    routes: dict[str, Route]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            re.compile(self.metric_names)
        except re.error as error:
            raise ValueError(f"metric_names is not a regular expression: {error}") from error
        if lacking := [bucket for bucket in BUCKETS if bucket not in self.limits]:
            raise ValueError(f"limits lacks {', '.join(lacking)}")
        if missing := [name for name in REQUIRED if name not in self.routes]:
            raise ValueError(f"routes lacks {', '.join(missing)}: nothing can be read without")
        for name, route in self.routes.items():
            if (why := _fault(name, route)) is not None:
                raise ValueError(f"routes.{name}: {why}")
        return self

    def can_be_named(self, metric: str) -> bool:
        """Readings of a metric of this name can be asked for."""
        return re.fullmatch(self.metric_names, metric) is not None


def _fault(name: str, route: Route) -> str | None:
    needs = ROUTES.get(name)
    if needs is None:
        return f"there is no such request; there are {', '.join(ROUTES)}"
    if unknown := sorted(set(route.names()) - needs.given):
        return f"nothing is known of {', '.join(unknown)}; it is given {', '.join(sorted(needs.given)) or 'nothing'}"
    if missing := sorted(needs.read - route.read.keys()):
        return f"read lacks {', '.join(missing)}"
    if unknown := sorted(route.read.keys() - needs.read - needs.may_read):
        return f"read has {', '.join(unknown)}, which nobody reads"
    return None


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with `$name` replaced; keys whose value is not known are left out."""
    if isinstance(template, str):
        match = _VARIABLE.match(template)
        return values.get(match[1]) if match else template
    if isinstance(template, dict):
        filled = {name: fill(inner, values) for name, inner in template.items()}
        return {name: inner for name, inner in filled.items() if inner is not None}
    if isinstance(template, list):
        return [inner for each in template if (inner := fill(each, values)) is not None]
    return template


def at(pointer: str, document: Any) -> Any:
    """What a JSON pointer points to; None where there is nothing."""
    found = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _variables(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        if match := _VARIABLE.match(template):
            yield match[1]
    elif isinstance(template, dict):
        for inner in template.values():
            yield from _variables(inner)
    elif isinstance(template, list):
        for inner in template:
            yield from _variables(inner)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
