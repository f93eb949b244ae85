"""The page's files and headers, logging in, roles, what a screen is sent: everything but the browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.command import Role
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.northbound.status import screen as screen_module
from bridge.northbound.status import session as session_module
from bridge.northbound.status import stream as stream_module
from bridge.northbound.status.api import AdminApi
from bridge.northbound.status.guard import Guard
from bridge.northbound.status.search import Search
from bridge.northbound.status.session import Sessions
from bridge.transport.clock import SystemClock
from tests.northbound.status.test_commands import Desk
from tests.northbound.status.test_status import BEARER, HEALTH, TOKEN, FakeOperations, Reader, good, serving
from tests.one_of_everything import NoEvents, filled_table, machine, plant

OURS = "http://127.0.0.1:8080"
WEB = files("bridge.northbound.status").joinpath("web")


class Users:
    """Anna may look, Otto may act; who they are can change while they are logged in."""

    def __init__(self) -> None:
        self.roles: dict[str, Role] = {"anna": Role.OBSERVER, "otto": Role.OPERATOR}
        self.credentials: dict[str, str] = {}

    any = True

    async def verify(self, name: str, password: str, peer: str) -> Role | None:
        return self.roles.get(name) if password == f"{name}'s own" else None

    def role(self, name: str) -> Role | None:
        return self.roles.get(name)

    def credential(self, name: str) -> str:
        return self.credentials.get(name, "")


class Browser:
    """A browser's side of HTTP: keeps cookies, says where a request comes from."""

    def __init__(self, *, is_secure: bool = False, names: Sequence[str] = ()) -> None:
        self.users, self.desk, clock = Users(), Desk(), SystemClock()
        guard = Guard(SecretStr(TOKEN), "127.0.0.1", Sessions(clock, self.users), is_secure=is_secure, names=names)
        stopping = asyncio.get_running_loop().create_future()
        self.table = filled_table()[0]
        api = AdminApi(self.table, self.desk, clock, guard, stopping, self.desk.submit, self.users)
        base = OURS.replace("http", "https") if is_secure else OURS
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(api.application()), base_url=base)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, body: Any = None, origin: str = OURS) -> httpx.Response:
        return await self.client.post(path, json=body or {}, headers={"Origin": origin} if origin else {})

    async def log_in(self, name: str) -> httpx.Response:
        return await self.post("/api/v1/login", {"user": name, "password": f"{name}'s own"})


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    browser = Browser()
    yield browser
    await browser.client.aclose()


async def test_page_allows_nothing_but_its_own_files(browser: Browser) -> None:
    answer = await browser.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|https?://", answer.text)
    for path in re.findall(r'(?:src|href)="(/page/[^"]+)"', answer.text):
        assert (await browser.get(path)).status_code == 200


async def test_every_file_has_a_type_and_is_not_sent_twice(browser: Browser) -> None:
    for file in WEB.iterdir():
        answer = await browser.get(f"/page/{file.name}")
        assert answer.content == file.read_bytes()
        again = await browser.get(f"/page/{file.name}", **{"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapi.py", "%2e%2e/api.py", "api.py", "__init__.py"])
async def test_nothing_else_is_a_file_of_the_page(browser: Browser, name: str) -> None:
    assert (await browser.get(f"/page/{name}")).status_code == 404


def test_scripts_make_no_markup_of_text_and_load_nothing_from_elsewhere() -> None:
    for file in WEB.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
        assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {"http://www.w3.org/2000/svg"}


async def test_nobody_is_logged_in_at_first_and_is_told_how_to(browser: Browser) -> None:
    told = (await browser.get("/api/v1/session")).json()
    assert (told["user"], told["role"], told["has_users"], told["faults"]) == (None, None, True, [])
    assert told["why_not_ready"] == ["panel: connection refused"]
    assert (await browser.get("/api/v1/tags")).status_code == 401


async def test_login_by_token_is_an_engineer_until_logout(browser: Browser) -> None:
    answer = await browser.post("/api/v1/login", {"token": TOKEN})
    assert (answer.json()["user"], answer.json()["role"]) == ("admin", "Engineer")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert (await browser.get("/api/v1/tags")).status_code == 200
    await browser.post("/api/v1/logout")
    assert (await browser.get("/api/v1/tags")).status_code == 401


async def test_cookie_goes_through_tls_only_where_there_is_tls() -> None:
    browser = Browser(is_secure=True)
    answer = await browser.client.post(
        "/api/v1/login", json={"token": TOKEN}, headers={"Origin": "https://127.0.0.1:8080"}
    )
    assert "Secure" in answer.headers["set-cookie"]
    await browser.client.aclose()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"token": "wrong"}, "admin.token"),
        ({"token": ""}, "admin.token"),
        ({"user": "anna", "password": "wrong"}, "user name or password"),
        ({"user": "admin", "password": ""}, "user name or password"),
        ({}, "user name or password"),
    ],
)
async def test_wrong_login_is_refused_with_what_is_wanted(browser: Browser, body: dict[str, str], says: str) -> None:
    answer = await browser.post("/api/v1/login", body)
    assert (answer.status_code, says in answer.json()["detail"]) == (401, True)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["", "null", "https://evil.example", "http://127.0.0.1:8081", "http://127.0.0.1", "http://["]
)
async def test_other_pages_act_in_nobodys_name(browser: Browser, origin: str) -> None:
    await browser.log_in("otto")
    for path in ("/api/v1/commands", "/api/v1/commands/uns:-:4711/discard", "/api/v1/login", "/api/v1/logout"):
        assert (await browser.post(path, {"target": "x"}, origin)).status_code == 403
    assert (browser.desk.submitted, browser.desk.asked) == ([], [])


FOR_ANYBODY = (
    "/",
    "/page/{name}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/session",
    "/api/v1/login",
    "/api/v1/logout",
)
ACTS = {
    "/api/v1/commands": "otto",
    "/api/v1/commands/{id:path}/retry": "otto",
    "/api/v1/commands/{id:path}/discard": "otto",
    "/api/v1/alarms/{id:path}/acknowledge": "otto",
    "/api/v1/certificates/{thumbprint}/trust": "eva",
    "/api/v1/certificates/{thumbprint}/distrust": "eva",
    "/api/v1/found/adopt": "eva",
    "/api/v1/reload": "eva",
    "/api/v1/log-level": "eva",
}
SHOWN_TO_ENGINEERS = ("/api/v1/outline", "/api/v1/record", "/api/v1/log")


async def test_every_route_wants_its_role(browser: Browser) -> None:
    """A new route is for observers who look and for nobody who acts, until it is written here."""
    browser.users.roles["eva"] = Role.ENGINEER
    application = browser.client._transport.app  # type: ignore[attr-defined]
    asked = httpx.ASGITransport(application, raise_app_exceptions=False)  # what these operations do is not looked at
    order = ["", "anna", "otto", "eva"]
    routes = [(verb, one.path) for one in application.routes for verb in one.methods - {"HEAD"}]
    for verb, path in routes:
        least = ACTS[path] if verb == "POST" and path not in FOR_ANYBODY else "anna"
        least = "eva" if path in SHOWN_TO_ENGINEERS else least
        if path in FOR_ANYBODY or path in ("/api/v1/stream", "/api/v1/screen"):
            continue  # the last two have no end: see test_view_ends_with_the_session
        for name in order:
            async with httpx.AsyncClient(transport=asked, base_url=OURS, headers={"Origin": OURS}) as client:
                if name:
                    await client.post("/api/v1/login", json={"user": name, "password": f"{name}'s own"})
                status = (await client.request(verb, re.sub(r"{.*?}", "x", path), json={})).status_code
            refused = 401 if not name else 403 if order.index(name) < order.index(least) else None
            assert status == refused if refused else status not in (401, 403), (verb, path, name, status)
    assert {path for verb, path in routes if verb == "POST"} == {*ACTS, "/api/v1/login", "/api/v1/logout"}


async def test_observer_looks_and_does_not_act(browser: Browser) -> None:
    await browser.log_in("anna")
    assert (await browser.get("/api/v1/commands")).status_code == 200
    answer = await browser.post("/api/v1/commands/uns:-:4711/retry")
    assert (answer.status_code, answer.json()["detail"]) == (403, "anna has the role Observer; this wants Operator")
    assert (await browser.get("/api/v1/record")).status_code == 403


async def test_command_of_a_login_has_its_name_and_role(browser: Browser) -> None:
    await browser.log_in("otto")
    answer = await browser.post(
        "/api/v1/commands", {"target": "extruder-1.Setpoints.ScrewSpeed", "value": 3, "user": "x"}
    )
    assert answer.status_code == 200
    [command] = browser.desk.submitted
    assert (command.requester, command.user, command.role) == ("otto", "otto", Role.OPERATOR)


async def test_role_is_the_one_of_now(browser: Browser) -> None:
    await browser.log_in("otto")
    browser.users.roles["otto"] = Role.OBSERVER
    assert (await browser.post("/api/v1/commands/uns:-:4711/discard")).status_code == 403
    del browser.users.roles["otto"]
    assert (await browser.get("/api/v1/commands")).status_code == 401


async def test_another_password_ends_the_sessions_of_the_one_before(browser: Browser) -> None:
    await browser.log_in("otto")
    assert (await browser.get("/api/v1/commands")).status_code == 200
    browser.users.credentials["otto"] = "another"
    assert (await browser.get("/api/v1/commands")).status_code == 401


async def test_sessions_are_bounded_and_end(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MOST", 2)
    await browser.log_in("anna")
    first = dict(browser.client.cookies)
    for _ in range(2):
        browser.client.cookies.clear()
        await browser.log_in("anna")
    assert (await browser.get("/api/v1/commands")).status_code == 200
    browser.client.cookies.update(first)
    assert (await browser.get("/api/v1/commands")).status_code == 401


async def test_another_login_ends_the_session_before_it(browser: Browser) -> None:
    await browser.log_in("otto")
    before = dict(browser.client.cookies)
    await browser.log_in("anna")
    browser.client.cookies.update(before)
    assert (await browser.get("/api/v1/commands")).status_code == 401


@pytest.mark.parametrize("path", ["screen", "screen?limit=5", "stream"])
async def test_view_ends_with_the_session(browser: Browser, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_module, "OVERVIEW_S", 0.01)
    monkeypatch.setattr(stream_module, "HEARTBEAT_S", 0.01)
    await browser.log_in("otto")
    looking = asyncio.create_task(browser.get(f"/api/v1/{path}"))  # answered when the view has ended
    await asyncio.wait({looking}, timeout=0.1)
    assert not looking.done()
    del browser.users.roles["otto"]
    assert (await asyncio.wait_for(looking, 30)).status_code == 200


async def test_session_that_is_not_used_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LASTS_S", 0.0)
    sessions = Sessions(SystemClock(), Users())
    assert sessions.who(sessions.open("anna")) is None


async def test_page_behind_a_proxy_is_served_by_the_names_that_were_given() -> None:
    browser = Browser(names=("bridge.acme.example",))
    assert (await browser.get("/", Host="Bridge.acme.example")).status_code == 200
    assert (await browser.get("/", Host="evil.example")).status_code == 421
    token, headers = {"token": TOKEN}, {"Host": "bridge.acme.example", "Origin": "https://bridge.acme.example"}
    assert (await browser.client.post("/api/v1/login", json=token, headers=headers)).status_code == 200
    await browser.client.aclose()


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pressure", ["Monitoring/Pressure"]),
        ("MELT bar", ["Monitoring/Pressure"]),
        ("massedruck", ["Monitoring/Pressure"]),
        ("before die", ["Monitoring/Pressure"]),
        ("temperature/front", ["Monitoring/Temperature/Front"]),
        ("extruder-1.Status.*", ["Status/Homed", "Status/Message", "Status/ItemState"]),
        ("line-1 homed", ["Status/Homed"]),
        ("front pressure", []),
    ],
)
def test_every_word_must_be_found_somewhere(text: str, names: list[str]) -> None:
    slots = Slots()
    found = Search(text).found(plant(slots, machine(slots)))  # type: ignore[arg-type]
    assert {tag.name for tag in found if tag.machine == "extruder-1"} == set(names)


def test_search_has_an_end() -> None:
    with pytest.raises(ValueError, match="20 words"):
        Search("a " * 21)


# -- what a screen is sent --------------------------------------------------------------------------------------------


@asynccontextmanager
async def looking(url: str, query: str) -> AsyncIterator[Reader]:
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/api/v1/screen?{query}", headers=BEARER) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        yield Reader(answer.aiter_lines())


async def test_screen_is_sent_what_is_on_it_and_nothing_else() -> None:
    table = filled_table()[0]
    async with serving(table, FakeOperations()) as (_, url), looking(url, "q=extruder-1&offset=2&limit=3") as reader:
        _, window = (await reader.until("window"))[-1]
        names = [tag.name for tag in Search("extruder-1").found(table.plant)]
        assert (window["total"], window["offset"]) == (len(names), 2)
        assert [tag["name"] for tag in window["tags"]] == names[2:5]
        hidden, seen = table.plant.find("winder-2.Monitoring.Plain"), table.plant.find(window["tags"][1]["id"])
        assert hidden
        assert seen
        table.update([(hidden.slot, good(1.0)), (seen.slot, good(2.0))])
        _, told = (await reader.until("values"))[-1]
        assert {key: value["value"] for key, value in told["values"].items()} == {seen.id: 2.0}


async def test_tag_that_is_looked_at_closely_is_sent_wherever_the_list_stands() -> None:
    table = filled_table()[0]
    query = "q=extruder-1&limit=1&pin=winder-2.Monitoring.Plain"
    async with serving(table, FakeOperations()) as (_, url), looking(url, query) as reader:
        _, window = (await reader.until("window"))[-1]
        assert list(window["pinned"]) == ["winder-2.Monitoring.Plain"]
        tag = table.plant.find("winder-2.Monitoring.Plain")
        assert tag
        table.update([(tag.slot, good(3.0))])
        _, told = (await reader.until("values"))[-1]
        assert told["values"][tag.id]["value"] == 3.0


async def test_list_of_what_is_grey_follows_the_qualities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_module, "LOOK_AGAIN_S", 0.0)
    table = filled_table()[0]
    async with (
        serving(table, FakeOperations()) as (_, url),
        looking(url, "q=extruder-1&limit=50&only=bad,uncertain") as reader,
    ):
        _, window = (await reader.until("window"))[-1]
        assert {tag["status"] for tag in window["tags"]} == {"BadSensorFailure", "UncertainLastUsableValue"}
        tag = table.plant.find("extruder-1.Monitoring.Temperature.Front")
        assert tag
        table.update([(tag.slot, good(20.0))])
        _, window = (await reader.until("window"))[-1]
        assert {tag["status"] for tag in window["tags"]} == {"UncertainLastUsableValue"}


async def test_screen_follows_the_plant() -> None:
    slots = Slots()
    table = Table(plant(slots, machine(slots)), SystemClock(), NoEvents())  # type: ignore[arg-type]
    async with serving(table, FakeOperations()) as (_, url), looking(url, "q=plain&limit=9") as reader:
        _, window = (await reader.until("window"))[-1]
        assert window["total"] == 1
        table.replace_plant(Plant(table.plant.bridge, {"late-1": machine(slots, "late-1")}))
        _, window = (await reader.until("window"))[-1]
        assert [tag["id"] for tag in window["tags"]] == ["late-1.Monitoring.Plain"]


async def test_overview_says_what_is_grey_and_why() -> None:
    table, operations = filled_table()[0], FakeOperations()
    async with serving(table, operations) as (_, url), looking(url, "") as reader:
        name, told = await reader.event()
    assert name == "overview"
    assert [cause["status"] for cause in told["causes"]] == ["BadSensorFailure", "UncertainLastUsableValue"]
    first = told["causes"][0]
    assert (first["reason"], first["count"], first["machines"]) == (
        "The sensor reports a wiring error",
        1,
        ["extruder-1"],
    )
    counts = told["values"]
    assert (counts["bad"], counts["uncertain"]) == (1, 1)
    assert sum(counts.values()) == sum(len(one.tags) for one in table.plant.machines.values())
    assert told["sources"][0]["advice"] == "Is it on?"
    assert TOKEN not in json.dumps(told)


async def test_overview_holds_only_so_many_causes() -> None:
    table = filled_table()[0]
    tags = table.plant.machines["extruder-1"].tags
    for number, tag in enumerate(tags):
        table.update(
            [(tag.slot, good(1.0)._replace(value=None, status=StatusCode.BadNoCommunication, reason=f"{number}"))]
        )
    async with serving(table, FakeOperations()) as (_, url), looking(url, "") as reader:
        _, told = await reader.event()
    assert len(tags) >= len(told["causes"])
    assert len(told["causes"]) + told["more_causes"] == len(tags)


@pytest.mark.parametrize("query", ["limit=301", "limit=x", "offset=-1", "q=" + "a" * 201, "offset=99999999"])
async def test_senseless_screen_is_refused(browser: Browser, query: str) -> None:
    answer = await browser.get(f"/api/v1/screen?{query}", **BEARER)
    assert answer.status_code == 400


async def test_views_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.northbound.status.api.MAX_STREAMS", 1)
    table = filled_table()[0]
    async with serving(table, FakeOperations()) as (_, url), looking(url, "") as reader, httpx.AsyncClient() as client:
        await reader.event()
        answer = await client.get(f"{url}/api/v1/screen", headers=BEARER)
        assert (answer.status_code, answer.json()["detail"]) == (503, "1 views are open already; close one")


async def test_view_that_takes_nothing_is_closed_and_told_so_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(screen_module, "PATIENCE_S", 0.2)
    monkeypatch.setattr(screen_module, "OVERVIEW_S", 0.0)
    monkeypatch.setattr("bridge.northbound.status.overview.FRESH_S", 60.0)
    operations = FakeOperations()
    operations.current = replace(HEALTH, why_not_ready=("x" * 500_000,))  # more than sockets hold
    async with serving(filled_table()[0], operations) as (_, url):
        port = httpx.URL(url).port
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**12)
        request = f"GET /api/v1/screen?view=slow HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        writer.write(request.encode())
        writer.transport.pause_reading()
        async with asyncio.timeout(30):
            told = ""
            while told != "dropped":
                async with looking(url, "view=slow") as again:
                    told = (await again.event())[0]
        writer.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
