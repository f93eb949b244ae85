"""TrackMyMachines on two sockets: the organisation's .app host (events) and its .com host (step events).

    client -> HttpDoor (journal, fault plan) -> route by host, path, method -> key -> timeline | step events

A Host header ending in trackmymachines.app or .com chooses the virtual host on either port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from random import Random
from types import TracebackType
from typing import Any

from aiohttp import hdrs, web

from bridge.sim.clock import VirtualClock
from bridge.sim.control import Control
from bridge.sim.http_door import HttpDoor
from bridge.sim.http_faults import FaultPlan
from bridge.sim.request_journal import RequestJournal
from bridge.sim.trackmymachines.answers import Refused, json_answer, rails_page
from bridge.sim.trackmymachines.behaviour import Behaviour
from bridge.sim.trackmymachines.faults import Faults
from bridge.sim.trackmymachines.floor import HISTORY, ShopFloor
from bridge.sim.trackmymachines.keys import ApiKeys
from bridge.sim.trackmymachines.organisation import Machine, Organisation
from bridge.sim.trackmymachines.query import BadQuery, Unreadable
from bridge.sim.trackmymachines.step_events import BadBody, StepEvents
from bridge.sim.trackmymachines.timeline import events

APP = "app"
COM = "com"
NO_WRITE = "This API key does not have write permissions"
NAME = "TrackMyMachines simulator"

DEFAULT_USERS = ("user@example.com", "operator@example.com")


def default_machines() -> list[Machine]:
    """Two with everything, one without a foreign id, one archived."""
    return [
        Machine(6, "Machine 1", "MACHINE_001"),
        Machine(7, "Machine 2", "MACHINE_002"),
        Machine(8, "Laser 3", None),
        Machine(9, "Old lathe", "MACHINE_009", archived=True),
    ]


class TrackMyMachines:
    """A simulator to be entered with `async with`.

    Args:
        machines: Of the organisation; four of every kind if None.
        users: E-mail addresses that may be named in step events.
        behaviour: What the vendor's pages leave open.
        clock: Virtual; real time if None.
        seed: Ids, delays, keys and the shop floor are the same for the same seed.
        floor: A shop floor runs by itself, and has run for a day; else the timeline is empty.
        host: Address to listen on.
        app_port: Of the host with the events; 0 takes a free one.
        com_port: Of the host with the step events; 0 takes a free one.
        control_port: Loopback port of the fault switches (`/_sim/...`); 0 takes a free one, None means none.

    Raises:
        ValueError: Two machines with the same number or name.
        AddressTaken: On entering, when a port is in use.
    """

    def __init__(
        self,
        machines: Iterable[Machine] | None = None,
        *,
        users: Iterable[str] = DEFAULT_USERS,
        behaviour: Behaviour | None = None,
        clock: VirtualClock | None = None,
        seed: int = 1,
        floor: bool = False,
        host: str = "127.0.0.1",
        app_port: int = 0,
        com_port: int = 0,
        control_port: int | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.keys = _keys(self.clock, seed)
        self.organisation = Organisation(default_machines() if machines is None else machines, users, seed)
        self.behaviour = behaviour or Behaviour()
        self.plan = FaultPlan()
        self.journal = RequestJournal()
        self.faults = Faults(self.plan, self)
        self._steps = StepEvents(self.organisation, self.clock)
        self._floor = ShopFloor(self.organisation, seed, self.clock.now() - HISTORY) if floor else None
        self.catch_up()
        self.organisation.feed_delay_s = self.behaviour.feed_delay_s
        self._app = self._door(APP, host, app_port)
        self._com = self._door(COM, host, com_port)
        self.control: Control | None = self._control(control_port)
        self._parts = [part for part in (self._app, self._com, self.control) if part is not None]

    def _door(self, group: str, host: str, port: int) -> HttpDoor:
        return HttpDoor(
            NAME, host, port, lambda request, body: self._serve(group, request, body),
            account=self._account, clock=self.clock, plan=self.plan, journal=self.journal,
        )  # fmt: skip

    def _control(self, port: int | None) -> Control | None:
        views = {"status": self.status, "events": self._all_events, "journal": self.journal.as_json}
        return None if port is None else Control(f"{NAME}'s control port", self.faults, views, port)

    # -- what a test sees

    @property
    def app_url(self) -> str:
        """The host with the events, without a path."""
        return self._app.url

    @property
    def com_url(self) -> str:
        """The host with the step events, without a path."""
        return self._com.url

    def secret(self, key: str) -> str:
        """An API key: "ro", "rw", "expired" or "revoked"."""
        return self.keys[key].secret

    def behave(self, switches: Mapping[str, Any]) -> None:
        """Change some switches. Raises ValueError."""
        self.behaviour = self.behaviour.with_switches(switches)
        self.organisation.feed_delay_s = self.behaviour.feed_delay_s

    def catch_up(self) -> None:
        """Let the shop floor do what it has done until now."""
        if self._floor is not None:
            self._floor.catch_up(self.clock.now())

    def status(self) -> dict[str, Any]:
        """For the control port."""
        return {
            "events": self.app_url,
            "step_events": self.com_url,
            "now": self.clock.now(),
            "speed": self.clock.speed,
            "behaviour": self.behaviour,
            "machines": [
                {
                    "number": machine.number,
                    "display_name": machine.display_name,
                    "foreign_id": machine.foreign_id,
                    "archived": machine.archived,
                }
                for machine in self.organisation.machines
            ],
            "planned_faults": self.plan.as_json(),
        }

    def _all_events(self) -> dict[str, Any]:
        self.catch_up()
        return {
            "events": [
                {
                    "id": event.id,
                    "number": event.number,
                    "type": event.type,
                    "machine": event.machine.display_name,
                    "start": event.start,
                    "end": event.end,
                    "label": event.label,
                    "visible": event.visible,
                }
                for event in self.organisation.events
            ]
        }

    # -- start and stop

    async def __aenter__(self) -> TrackMyMachines:
        try:
            for part in self._parts:
                await part.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for part in self._parts:
            await part.stop()

    async def refuse(self) -> None:
        """Drop every connection and refuse new ones, on both hosts."""
        for door in (self._app, self._com):
            await door.refuse()

    async def accept(self) -> None:
        """Accept connections again."""
        for door in (self._app, self._com):
            await door.accept()

    # -- requests

    def _account(self, request: web.Request) -> str:
        key = self.keys.of(request.headers.get(hdrs.AUTHORIZATION, ""))
        return key.name if key is not None else ""

    def _serve(self, door: str, request: web.Request, body: bytes) -> web.Response:
        self.catch_up()
        path_is_ours = request.path.startswith("/api/v1/")
        route = self._route(_virtual_host(request) or door, request, body) if path_is_ours else None
        if route is None:
            return rails_page(request, 404, "Not Found")
        try:
            self._admit(request)
            return route()
        except Refused as refused:
            return json_answer({"error": refused.error}, refused.status)
        except (BadQuery, BadBody):
            return rails_page(request, 400, "Bad Request")
        except (Unreadable, OverflowError):
            return rails_page(request, 500, "Internal Server Error")

    def _route(self, group: str, request: web.Request, body: bytes) -> Callable[[], web.Response] | None:
        method = "GET" if request.method == "HEAD" else request.method
        query, kind = request.rel_url.raw_query_string, request.content_type
        what = f"{method} {request.path.removeprefix('/api/v1/')}"
        if what.startswith("GET charts/"):
            return lambda: json_answer({"message": "Chart not found"}, 404)
        routes: dict[tuple[str, str], Callable[[], web.Response]] = {
            (APP, "GET events"): lambda: events(self.organisation, self.behaviour, self.clock, query),
            (COM, "GET step_events"): lambda: self._steps.read(self.behaviour, query),
            (COM, "POST step_events"): lambda: self._steps.create(self.behaviour, kind, body),
        }
        if self.behaviour.edition == "2025-05":
            routes[COM, "PATCH step_events/finish"] = lambda: self._steps.finish(self.behaviour, kind, body)
        groups = (APP, COM) if self.behaviour.hosts == "both" else (group,)
        return next((routes[group, what] for group in groups if (group, what) in routes), None)

    def _admit(self, request: web.Request) -> None:
        key = self.keys.of(request.headers.get(hdrs.AUTHORIZATION, ""))
        if key is None or not self.keys.is_good(key):
            raise Refused(401, "Invalid or expired API key")
        if request.method not in ("GET", "HEAD") and not key.writes:
            raise Refused(403, NO_WRITE)


def _virtual_host(request: web.Request) -> str | None:
    host = request.host.partition(":")[0].lower()
    _, dot, group = host.rpartition("trackmymachines.")
    return group if dot and group in (APP, COM) else None


def _keys(clock: VirtualClock, seed: int) -> ApiKeys:
    rng = Random(f"{seed} keys")
    keys = ApiKeys(clock)
    for name in ("ro", "rw", "expired", "revoked"):
        keys.issue(name, f"tmm_{name}_{rng.getrandbits(128):032x}", writes=name != "ro")
    keys["expired"].expires = clock.now() - timedelta(days=1)
    keys["revoked"].revoked = True
    return keys
