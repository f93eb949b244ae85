"""REST to a panel: what is asked when, and what is never given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest

from bridge.errors import AuthFailed, NotConnected, ProtocolError
from bridge.sources.qitech.client import LIST, METRICS, MUTATE, PROOF, MachineRefused, PanelClient
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.profile import Profile, Verdict
from bridge.transport.clock import VirtualClock
from bridge.transport.http import http_client
from tests.sources.qitech.listener import until
from tests.sources.qitech.recorded import body

EXTRUDER = Identity(1, 4, 57922)
MACHINE = f"{LIST}/extruder_v1/57922"

Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


class FakePanel:
    """Answers like a 2.x, or as told; counts what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.asked: list[str] = []
        self.unanswered = 0
        self.most_at_once = 0
        self.given_up = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        self.unanswered += 1
        self.most_at_once = max(self.most_at_once, self.unanswered)
        try:
            await (self.go.wait() if path.startswith(f"{LIST}/") else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.unanswered -= 1
        return self._answer(path)

    def _answer(self, path: str) -> httpx.Response:
        recorded = {LIST: "machine_list", METRICS: "metrics_process", MACHINE: "machine_get_extruder_v1"}
        answer = self.answers.get(path)
        if isinstance(answer, Exception):
            raise answer
        return answer or httpx.Response(200, content=body(recorded.get(path, "v1_mutate_ok")))


@pytest.fixture
def panel() -> FakePanel:
    return FakePanel()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@asynccontextmanager
async def connected(panel: FakePanel, clock: VirtualClock) -> AsyncIterator[PanelClient]:
    http = http_client("http://panel", transport=httpx.MockTransport(panel))
    async with PanelClient(http, clock) as client:
        yield client


@asynccontextmanager
async def probed(panel: FakePanel, clock: VirtualClock) -> AsyncIterator[PanelClient]:
    async with connected(panel, clock) as client:
        client.settle((await client.probe()).verdict)
        panel.asked.clear()
        yield client


async def test_probe_touches_no_machine(panel: FakePanel, clock: VirtualClock) -> None:
    async with connected(panel, clock) as client:
        verdict, listed = await client.probe()
    assert (verdict.profile, verdict.is_known) == (Profile.V2, True)
    assert listed is not None
    assert panel.asked == [LIST, METRICS]


async def test_panel_whose_list_breaks_off_is_still_probed(panel: FakePanel, clock: VirtualClock) -> None:
    """A stepper test machine makes a 3.x drop the connection of the list."""
    panel.answers = {LIST: httpx.RemoteProtocolError("Server disconnected"), METRICS: httpx.Response(404)}
    async with connected(panel, clock) as client:
        verdict, listed = await client.probe()
    assert (verdict.profile, verdict.is_known, listed) == (Profile.V3, False, None)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(401), AuthFailed, "refused our credentials"),
        (httpx.Response(502), NotConnected, "502"),
        (httpx.ConnectError("refused"), NotConnected, "cannot be reached"),
    ],
)
async def test_probe_of_a_panel_that_is_not_there(
    panel: FakePanel, clock: VirtualClock, answer: httpx.Response | Exception, error: type[Exception], words: str
) -> None:
    panel.answers = {LIST: answer, METRICS: answer}
    async with connected(panel, clock) as client:
        with pytest.raises(error, match=words):
            await client.probe()


async def test_snapshot_knows_when_it_was_asked_for(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        await clock.advance(3)
        snapshot, requested_at = await client.snapshot(EXTRUDER, "extruder_v1")
    assert requested_at == 3
    assert snapshot.state is not None
    assert panel.asked == [MACHINE]


@pytest.mark.parametrize("profile", [Profile.V3, None])
async def test_no_machine_is_asked_of_a_panel_that_is_not_a_2x(
    panel: FakePanel, clock: VirtualClock, profile: Profile | None
) -> None:
    async with connected(panel, clock) as client:
        if profile is not None:
            client.settle(Verdict(profile, True, False, ""))
        with pytest.raises(ProtocolError, match=r"2\.x panel only"):
            await client.snapshot(EXTRUDER, "extruder_v1")
    assert panel.asked == []


async def test_gap_in_the_answers_means_that_the_panel_is_proved_again(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        for _ in range(3):
            await clock.advance(PROOF - 1)
            await client.snapshot(EXTRUDER, "extruder_v1")
        assert panel.asked == [MACHINE] * 3
        await clock.advance(PROOF)
        await client.snapshot(EXTRUDER, "extruder_v1")
    assert panel.asked == [MACHINE] * 3 + [METRICS, MACHINE]


async def test_answer_after_a_gap_does_not_mend_the_proof(panel: FakePanel, clock: VirtualClock) -> None:
    """The list of an updated panel answers as that of the old one did."""
    async with probed(panel, clock) as client:
        await clock.advance(PROOF)
        await client.list_machines()
        await client.snapshot(EXTRUDER, "extruder_v1")
    assert panel.asked == [LIST, METRICS, MACHINE]


async def test_panel_updated_in_place_to_3x_is_not_asked_for_a_machine(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        panel.answers[METRICS] = httpx.Response(404)
        await clock.advance(PROOF)
        with pytest.raises(NotConnected, match="changed its release"):
            await client.snapshot(EXTRUDER, "extruder_v1")
    assert MACHINE not in panel.asked


async def test_confirm_asks_only_what_it_does_not_know(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        await client.confirm()
        assert panel.asked == []
        await clock.advance(0.5)
        await asyncio.gather(*(client.confirm(since=clock.monotonic()) for _ in range(20)))
    assert panel.asked == [METRICS]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(404, content=body("error_unknown_serial")), MachineRefused, "^Unknown machine!$"),
        (httpx.Response(404), MachineRefused, "^status 404$"),
        (httpx.Response(500, content=b'{"error_internal":"closed"}'), MachineRefused, "^closed$"),
        (httpx.Response(200, content=b"<html>"), ProtocolError, "not JSON"),
        (httpx.Response(401), AuthFailed, "credentials"),
        (httpx.Response(502), NotConnected, "502"),
        (httpx.ReadTimeout("late"), NotConnected, "did not answer in time"),
    ],
)
async def test_machine_without_values_says_why(
    panel: FakePanel, clock: VirtualClock, answer: httpx.Response | Exception, error: type[Exception], words: str
) -> None:
    async with probed(panel, clock) as client:
        panel.answers[MACHINE] = answer
        with pytest.raises(error, match=words):
            await client.snapshot(EXTRUDER, "extruder_v1")


async def test_cancelled_get_is_left_to_finish_and_leaving_waits_for_it(panel: FakePanel, clock: VirtualClock) -> None:
    async def use() -> None:
        async with probed(panel, clock) as client:
            await client.snapshot(EXTRUDER, "extruder_v1")

    panel.go.clear()
    task = asyncio.create_task(use())
    await until(lambda: panel.unanswered == 1)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    assert panel.unanswered == 1
    panel.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert panel.given_up == 0


async def test_failure_of_a_get_nobody_waits_for_is_no_noise(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        panel.answers[MACHINE] = httpx.ReadError("broke")
        panel.go.clear()
        task = asyncio.create_task(client.snapshot(EXTRUDER, "extruder_v1"))
        await until(lambda: panel.unanswered == 1)
        task.cancel()
        await asyncio.wait({task})
        panel.go.set()
    assert panel.given_up == 0


async def test_machine_is_never_asked_twice_at_once(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        panel.go.clear()
        first = asyncio.create_task(client.snapshot(EXTRUDER, "extruder_v1"))
        await until(lambda: panel.unanswered == 1)
        first.cancel()
        second = asyncio.create_task(client.snapshot(EXTRUDER, "extruder_v1"))
        await asyncio.wait({first})
        await asyncio.sleep(0.02)
        assert panel.asked == [MACHINE]
        panel.go.set()
        await second
    assert panel.asked == [MACHINE] * 2
    assert panel.most_at_once == 1


async def test_requests_take_turns_on_one_connection(panel: FakePanel, clock: VirtualClock) -> None:
    async with probed(panel, clock) as client:
        await asyncio.gather(
            *(client.snapshot(Identity(1, 4, serial), "extruder_v1") for serial in (57922,)),
            *(client.list_machines() for _ in range(5)),
        )
    assert panel.most_at_once == 1


async def test_slow_answer_lets_others_pass(
    panel: FakePanel, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sources.qitech.client.PATIENCE", 0.01)
    async with probed(panel, clock) as client:
        panel.go.clear()
        slow = asyncio.create_task(client.snapshot(EXTRUDER, "extruder_v1"))
        await until(lambda: panel.unanswered == 1)
        assert len(await client.list_machines()) == 4
        assert not slow.done()
        panel.go.set()
        await slow


async def test_mutation_goes_the_one_way_every_release_has(clock: VirtualClock) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500, content=body("v1_mutate_unknown_machine"))

    async with PanelClient(http_client("http://panel", transport=httpx.MockTransport(answer)), clock) as client:
        reply = await client.mutate(EXTRUDER, {"SetInverterTargetRpm": 12.3})
    assert reply.status == 500
    (request,) = sent
    assert (request.method, request.url.path) == ("POST", MUTATE)
    assert orjson.loads(request.content) == {
        "machine_identification_unique": {"machine_identification": {"vendor": 1, "machine": 4}, "serial": 57922},
        "data": {"SetInverterTargetRpm": 12.3},
    }


async def test_request_of_no_machine_does_not_hold_leaving_up(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sources.qitech.client.GRACE", 0.02)
    began = asyncio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def use() -> None:
        async with PanelClient(http_client("http://panel", transport=httpx.MockTransport(never)), clock) as client:
            await client.list_machines()

    task = asyncio.create_task(use())
    await began.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
