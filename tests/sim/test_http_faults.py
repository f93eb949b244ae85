"""The fault plan, the journal and the clock, against a vendor that only counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest
from aiohttp import web

from bridge.sim.clock import VirtualClock
from bridge.sim.control import Control
from bridge.sim.faults import faults_of
from bridge.sim.http_door import HttpDoor
from bridge.sim.http_faults import FaultPlan, HttpFaults
from bridge.sim.request_journal import Request, RequestJournal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Counting:
    """A vendor whose POSTs count."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NOON, speed=0)
        self.plan = FaultPlan()
        self.faults = HttpFaults(self.plan)
        self.journal = RequestJournal()
        self.commits = 0
        self.committed = asyncio.Event()
        self.door = HttpDoor(
            "counting", "127.0.0.1", 0, self.serve,
            account=lambda request: request.headers.get("X-Account", ""),
            clock=self.clock, plan=self.plan, journal=self.journal,
        )  # fmt: skip

    def serve(self, request: web.Request, body: bytes) -> web.Response:
        if request.method == "POST":
            self.commits += 1
            self.committed.set()
        return web.json_response({"commits": self.commits, "got": body.decode()})


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[Counting, httpx.AsyncClient]]:
    vendor = Counting()
    await vendor.door.start()
    try:
        async with httpx.AsyncClient(base_url=vendor.door.url, timeout=30) as client:
            yield vendor, client
    finally:
        await vendor.door.stop()


async def test_answers_keep_the_connection_and_carry_the_virtual_date() -> None:
    async with counting() as (vendor, client):
        first, second = await client.get("/a"), await client.get("/b")
        assert first.extensions["network_stream"] is second.extensions["network_stream"]
        assert parsedate_to_datetime(first.headers["date"]) == NOON
        assert "server" not in first.headers
        vendor.faults.date_skew(-90)
        assert parsedate_to_datetime((await client.get("/a")).headers["date"]) == NOON - timedelta(seconds=90)


async def test_reset_before_commit_has_no_effect_and_after_commit_has() -> None:
    async with counting() as (vendor, client):
        vendor.faults.reset()
        with pytest.raises(httpx.ReadError):
            await client.post("/x")
        assert vendor.commits == 0
        vendor.faults.reset(after_commit=True)
        with pytest.raises(httpx.ReadError):
            await client.post("/x")
        assert vendor.commits == 1
        assert (await client.get("/x")).status_code == 200
        assert [request.status for request in vendor.journal] == [None, None, 200]


async def test_status_before_and_after_commit() -> None:
    async with counting() as (vendor, client):
        vendor.faults.status(503, "<h1>sorry</h1>")
        answer = await client.post("/x")
        assert (answer.status_code, answer.text, vendor.commits) == (503, "<h1>sorry</h1>", 0)
        vendor.faults.status(502, after_commit=True)
        assert (await client.post("/x")).status_code == 502
        assert vendor.commits == 1
        with pytest.raises(ValueError, match="99"):
            vendor.faults.status(99)


async def test_throttle_with_and_without_retry_after() -> None:
    async with counting() as (vendor, client):
        vendor.faults.throttle()
        vendor.faults.throttle(7)
        bare, told, after = [await client.get("/x") for _ in range(3)]
        assert (bare.status_code, "retry-after" in bare.headers) == (429, False)
        assert (told.status_code, told.headers["retry-after"]) == (429, "7")
        assert after.status_code == 200


async def test_malformed_truncated_and_empty_answers() -> None:
    async with counting() as (vendor, client):
        vendor.faults.malformed()
        answer = await client.get("/x")
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        vendor.faults.truncate()
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/x")
        vendor.faults.no_content()
        answer = await client.get("/x")
        assert (answer.status_code, answer.content) == (204, b"")


async def test_gzip_comes_unasked() -> None:
    async with counting() as (vendor, client):
        vendor.faults.gzip()
        answer = await client.get("/x", headers={"Accept-Encoding": "identity"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json()["commits"] == 0


async def test_client_that_gives_up_does_not_undo_its_request() -> None:
    async with counting() as (vendor, client):
        vendor.faults.latency(0.3, count=1)
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/x", timeout=httpx.Timeout(5, read=0.02))
        await asyncio.wait_for(vendor.committed.wait(), 30)
        assert vendor.commits == 1


async def test_faults_pick_their_requests() -> None:
    async with counting() as (vendor, client):
        vendor.faults.status(500, method="post", path="/a/*", skip=1, count=2)
        asked = [
            ("POST", "/a/1"),
            ("GET", "/a/1"),
            ("POST", "/b"),
            ("POST", "/a/2"),
            ("POST", "/a/3"),
            ("POST", "/a/4"),
        ]
        assert [(await client.request(*one)).status_code for one in asked] == [200, 200, 200, 500, 500, 200]
        vendor.faults.status(500, count=None)
        assert len(vendor.plan.as_json()) == 1
        assert (await client.get("/")).status_code == 500
        vendor.faults.clear()
        assert (await client.get("/")).status_code == 200


async def test_refused_and_accepted_again_at_the_same_port() -> None:
    async with counting() as (vendor, client):
        await vendor.door.refuse()
        with pytest.raises(httpx.ConnectError):
            await client.get("/x")
        await vendor.door.accept()
        assert (await client.get("/x")).status_code == 200


async def test_journal_tells_accounts_apart_and_forgets_the_oldest() -> None:
    async with counting() as (vendor, client):
        await client.post("/x?y=1", headers={"X-Account": "rw"}, content=b"hello")
        await client.get("/x", headers={"X-Account": "ro"})
        [post] = vendor.journal.of("/x", "POST")
        assert (post.path, post.body, post.account, post.status, post.when) == ("/x?y=1", b"hello", "rw", 200, NOON)
        assert vendor.journal.counts("ro") == {"requests": 1, "200": 1}
        assert vendor.journal.counts("nobody") == {}
    journal = RequestJournal(length=2)
    for number in range(3):
        journal.record(Request("GET", f"/{number}", b"", NOON))
    assert [request.path for request in journal] == ["/1", "/2"]
    assert journal.counts("")["requests"] == 3


async def test_control_port_switches_and_shows() -> None:
    async with counting() as (vendor, client):
        control = Control("control", vendor.faults, {"journal": vendor.journal.as_json}, 0)
        await control.start()
        try:
            listed = (await client.get(f"{control.url}/faults")).json()["faults"]
            assert {fault["name"] for fault in listed} == set(faults_of(HttpFaults))
            await client.post(f"{control.url}/faults/status", json={"status": 418})
            assert (await client.get("/x")).status_code == 418
            refused = await client.post(f"{control.url}/faults/status", json={"statu": 418})
            assert refused.status_code == 400
            assert refused.json()["arguments"]["status"] is True
            assert (await client.get(f"{control.url}/journal")).json()["requests"][0]["status"] == 418
            assert (await client.post(f"{control.url}/faults/nope")).status_code == 404
        finally:
            await control.stop()


async def test_clock_stands_still_until_moved_and_wakes_sleepers() -> None:
    clock = VirtualClock(NOON, speed=0)
    assert clock.now() == NOON
    asleep = asyncio.ensure_future(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.advance(3599)
    await asyncio.sleep(0.01)
    assert not asleep.done()
    clock.set(NOON + timedelta(hours=1))
    await asyncio.wait_for(asleep, 1)
    assert clock.now() == NOON + timedelta(hours=1)


async def test_clock_set_back_turns_the_wall_but_not_the_intervals() -> None:
    clock = VirtualClock(NOON, speed=0)
    clock.advance(100)
    clock.set(NOON - timedelta(days=1))
    assert (clock.now(), clock.monotonic()) == (NOON - timedelta(days=1), 100)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        clock.set(NOON.replace(tzinfo=None))


async def test_clock_runs_at_a_multiple() -> None:
    clock = VirtualClock(NOON, speed=0)
    asleep = asyncio.ensure_future(clock.sleep(600))
    await asyncio.sleep(0)
    clock.run_at(100_000)
    await asyncio.wait_for(asleep, 30)
    assert clock.now() >= NOON + timedelta(seconds=600)
    with pytest.raises(ValueError, match="-1"):
        clock.run_at(-1)
