"""What waits for a person: who may decide, and what is said where there is nothing to decide."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.model.command import Role
from bridge.ports import FoundWaiting
from tests.northbound.status.test_page import Browser
from tests.one_of_everything import NOW

MARK = "3f1c8a" + "0" * 34


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    browser = Browser()
    browser.users.roles["eva"] = Role.ENGINEER
    yield browser
    await browser.client.aclose()


async def test_counts_say_how_much_waits(browser: Browser) -> None:
    browser.desk.kept = [{"folder": "own"}, {"folder": "rejected"}, {"folder": "rejected"}]
    browser.desk.waiting = [FoundWaiting("panel", "1/7/9", "panel-mock-9", {"serial": 9}, NOW, "")]
    await browser.log_in("anna")
    told = (await browser.get("/api/v1/todo")).json()
    assert told == {"alarms": 0, "dead_letters": 1, "certificates": 2, "machines": 1}
    [found] = (await browser.get("/api/v1/found")).json()["machines"]
    assert (found["id"], found["identity"], found["first_seen"]) == (
        "panel-mock-9",
        {"serial": 9},
        "2026-03-04T05:06:07.089Z",
    )


@pytest.mark.parametrize("verb", ["trust", "distrust"])
async def test_engineer_decides_about_a_client(browser: Browser, verb: str) -> None:
    await browser.log_in("otto")
    assert (await browser.post(f"/api/v1/certificates/{MARK}/{verb}")).status_code == 403
    await browser.log_in("eva")
    answer = await browser.post(f"/api/v1/certificates/{MARK}/{verb}")
    assert (answer.status_code, browser.desk.decided) == (200, [(verb, MARK, "eva")])
    answer = await browser.post(f"/api/v1/certificates/{MARK[:8]}/{verb}")
    assert (answer.status_code, "plantbridge certs list" in answer.json()["detail"]) == (404, True)


async def test_engineer_adopts_a_machine(browser: Browser) -> None:
    await browser.log_in("otto")
    assert (await browser.post("/api/v1/found/adopt", {"source": "panel", "key": "1/7/9"})).status_code == 403
    await browser.log_in("eva")
    answer = await browser.post("/api/v1/found/adopt", {"source": "panel", "key": "1/7/9"})
    assert answer.json() == {"adopted": "panel-mock-9"}
    assert browser.desk.decided == [("adopt", "panel", "1/7/9", "eva")]
    for body in ({"source": "panel", "key": "1/7/10"}, {}):
        assert (await browser.post("/api/v1/found/adopt", body)).status_code == 404


async def test_nothing_is_decided_for_another_page(browser: Browser) -> None:
    await browser.log_in("eva")
    for path in (f"/api/v1/certificates/{MARK}/trust", "/api/v1/found/adopt", "/api/v1/reload"):
        body = {"source": "panel", "key": "1/7/9"}
        assert (await browser.post(path, body, origin="https://evil.example")).status_code == 403
    assert browser.desk.decided == []
