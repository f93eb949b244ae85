"""Steps booked by PLCs and topics with an organisation of TrackMyMachines, which may be away for 20 minutes."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.commands.journal import State
from bridge.model.command import Result
from bridge.sim.trackmymachines import Event, TrackMyMachines, VirtualClock
from tests.broker import Broker, broker, free_port
from tests.flow.commanded import OPERATOR, eventually, faces, node, people
from tests.flow.doors import CODES, ONLINE, SPARKPLUG, Dcmd
from tests.flow.lines import LinePeer
from tests.flow.mosquitto import Listener, publish
from tests.flow.plantfloor import PlantFloor, running_bridge, until

pytestmark = [pytest.mark.peer("mosquitto", "mosquitto_pub", "mosquitto_sub", "node"), pytest.mark.timeout(300)]

SITE = """
sources:
  tmm:
    type: trackmymachines
    events_url: "{app}"
    step_events_url: "{com}"
    api_key: "{key}"
    period: 5s
    requests_per_minute: 6000
    writes: true
    allow: {{part: "PART[0-9]+"}}
    user_email: operator@example.com
machines:
  - {{id: mill-1, area: a, source: tmm, machine: {{foreign_id: MACHINE_001, display_name: Machine 1, number: 6}}}}
"""
CELL = "acme/essen/a/mill-1"
PENDING = f"{CELL}/Job/PendingBookings"
START, FINISH = "mill-1.Commands.StartStep", "mill-1.Commands.FinishStep"


@dataclass(frozen=True)
class Stage:
    """An organisation, a bridge, and what is said on its topics; one clock for both."""

    vendor: TrackMyMachines
    floor: PlantFloor
    broker: Broker
    listener: Listener
    numbers: itertools.count[int]
    state: Path

    @property
    def steps(self) -> list[Event]:
        return [event for event in self.vendor.organisation.events if event.type == "step"]

    @property
    def written(self) -> list[str]:
        """What was asked of the vendor to be changed, in order."""
        return [one.method for one in self.vendor.journal if one.method != "GET"]

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """By topic; the answer."""
        since, name, topic = self.listener.now, f"order-{next(self.numbers)}", f"{CELL}/cmd/{command}"
        await publish(self.broker, topic, json.dumps({"args": arguments, "id": name}).encode())
        heard = await self.listener.next(f"{topic}/result", since, name.encode())
        answer: dict[str, Any] = json.loads(heard.payload)
        return answer

    async def call(self, command: str, *arguments: str) -> tuple[int | None, str]:
        """By `plantbridge call` in a process of its own; its exit code and what it says."""
        words = ("-m", "bridge", "call", "--state-dir", str(self.state), "mill-1", command, *arguments)
        root, pipe = Path(__file__).parents[2], asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=root, stdout=pipe, stderr=pipe)
        said, complained = await process.communicate()
        return process.returncode, (said + complained).decode()

    def pending(self) -> list[int]:
        """What subscribers were told of the bookings that wait: each value once."""
        values = [json.loads(one.payload)["value"] for one in self.listener.heard if one.topic == PENDING]
        return [value for value, _ in itertools.groupby(values)]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    clock, opcua = VirtualClock(), free_port()
    async with broker() as mqtt, TrackMyMachines(clock=clock) as vendor:
        now = clock.now()
        vendor.faults.insert(
            "MACHINE_001", "cycle", (now - timedelta(seconds=60)).isoformat(), (now - timedelta(seconds=30)).isoformat()
        )
        rest = SITE.format(app=vendor.app_url, com=vendor.com_url, key=vendor.secret("rw"))
        async with (
            Listener(mqtt, ONLINE, f"{CELL}/#", f"{SPARKPLUG}/#") as listener,
            running_bridge(folder, rest, mqtt, faces=faces(opcua, mqtt.port), opcua=opcua, clock=clock) as floor,
        ):
            await listener.next(ONLINE, 0, b'"online":true')
            await until(lambda: floor.bridge.desk.is_connected("tmm"))
            yield Stage(vendor, floor, mqtt, listener, itertools.count(1), folder / "state")


async def test_what_is_booked_in_20_minutes_without_a_vendor_arrives_in_order_with_its_times(tmp_path: Path) -> None:
    async with stage(tmp_path) as floor:
        clock, desk = floor.vendor.clock, floor.floor.bridge.desk
        await floor.vendor.faults.refuse()
        clock.run_at(20)
        await until(lambda: not desk.is_connected("tmm"), 60)
        clock.run_at(1)
        started = clock.now()
        answer = await floor.ask("StartStep", PartUniqueIdentifier="PART1", StepNumber="10", WorkOrder="WO-1")
        assert (answer["status"], answer["result"]) == ("ok", "queued"), answer
        clock.advance(600)
        finished = clock.now()
        answer = await floor.ask("FinishStep", QtyMade=42, ExpectPart="PART1")
        assert (answer["status"], answer["result"]) == ("ok", "queued"), answer
        await until(lambda: floor.pending()[-1] == 2)
        clock.advance(600)
        assert floor.written == []
        await floor.vendor.faults.accept()
        clock.run_at(20)
        await until(lambda: floor.pending()[-1] == 0, 60)
        assert floor.written == ["POST", "PATCH"]
        (step,) = floor.steps
        assert step.end is not None
        for seen, meant in ((step.start, started), (step.end, finished)):
            assert timedelta(seconds=-1) < seen - meant < timedelta(seconds=15), (seen, meant)
        assert (step.label, step.metadata["quantity_made"]) == ("PART1", 42)
        assert floor.pending() in ([0, 1, 2, 0], [0, 1, 2, 1, 0])
        entries = await floor.floor.bridge.journal.newest(10)
        assert [one.command.target for one in entries] == [FINISH, START]
        for entry in entries:
            assert entry.outcome is not None
            assert (entry.state, entry.outcome.result) == (State.FINISHED, Result.CONFIRMED)
            assert State.QUEUED in [state for state, _, _ in entry.history]


async def test_steps_are_started_and_finished_by_handshake_and_by_method(tmp_path: Path) -> None:
    async with stage(tmp_path) as floor, people(floor.floor) as peer:

        async def shakes(base: str, number: int, **arguments: tuple[str, Any]) -> dict[str, Any]:
            """What the object shows when it is over, and how the writes were answered."""
            await peer.write(OPERATOR, (node(f"{base}.Execute"), "Boolean", False))
            items = {f"Args.{name}": given for name, given in arguments.items()}
            items |= {"RequestId": ("UInt32", number), "Execute": ("Boolean", True)}
            written = await peer.write(OPERATOR, *((node(f"{base}.{name}"), *one) for name, one in items.items()))
            names = (
                "State",
                "ErrorCode",
                "VendorCode",
                "ErrorText",
                "Results.Result",
                "Results.Actual",
                "Results.VendorText",
            )

            async def over() -> dict[str, Any] | None:
                shown = await peer.read(OPERATOR, *(node(f"{base}.{name}") for name in ("AckRequestId", *names)))
                return dict(zip(names, shown[1:], strict=True)) if shown[0] == number else None

            return {**await eventually(over), "written": [name for name, _ in written]}

        part, step = {"PartUniqueIdentifier": ("String", "PART1")}, {"StepNumber": ("String", "10")}
        shown = await shakes(START, 1, **part, **step)
        (made,) = floor.steps
        assert (shown["State"], shown["Results.Result"], shown["VendorCode"]) == (2, "confirmed", 201), shown
        assert shown["Results.Actual"] == str(made.number)
        assert shown["Results.VendorText"] == f"{made.number} PART1 Op10"
        floor.vendor.clock.advance(60)
        shown = await shakes(FINISH, 2, QtyMade=("Double", 42.0), ExpectEventId=("String", str(made.number)))
        assert (shown["State"], shown["Results.Result"], shown["Results.Actual"]) == (2, "confirmed", str(made.number))
        assert (made.metadata["quantity_made"], made.end is not None) == (42, True)
        sent = len(floor.written)
        shown = await shakes(START, 3, PartUniqueIdentifier=("String", "PRAT1"), **step)
        assert (shown["State"], shown["ErrorCode"], shown["VendorCode"]) == (3, CODES["BadInvalidArgument"], 0), shown
        assert shown["written"][-1] == "BadInvalidArgument"
        assert "'PRAT1' is not allowed" in shown["ErrorText"]
        assert len(floor.written) == sent

        async def calls(base: str, *given: list[Any]) -> dict[str, Any]:
            answer = await peer.ask(OPERATOR, "call", [node(base.rpartition(".")[0]), node(f"{base}Call"), [*given]])
            assert isinstance(answer, dict)
            return answer

        def text(value: str) -> list[Any]:
            return ["String", value]

        number, unset = ["Double", -1.0], ["DateTime", "1601-01-01T00:00:00.000Z"]
        order = [text("1"), text("10"), text("WO-1"), number, number, number, unset, text("")]
        answer = await calls(START, text("PRAT2"), *order)
        assert answer["status"] == "BadInvalidArgument", answer
        assert "'PRAT2' is not allowed" in answer["outputs"][0]
        assert len(floor.written) == sent
        answer = await calls(START, text("PART2"), *order)
        assert (answer["status"], answer["outputs"][1:3]) == ("Good", [201, "confirmed"]), answer
        assert [step.label for step in floor.steps] == ["PART1", "PART2"]
        floor.vendor.clock.advance(60)
        answer = await calls(FINISH, ["Double", 7.0], number, unset, text("PART2"), text(""))
        assert (answer["status"], answer["outputs"][1:3]) == ("Good", [200, "confirmed"]), answer
        assert (floor.steps[1].metadata["quantity_made"], floor.steps[1].end is not None) == (7, True)


async def test_steps_are_started_and_finished_by_topic_by_dcmd_and_by_hand(tmp_path: Path) -> None:
    async with stage(tmp_path) as floor, LinePeer("sparkplug_decoder.js") as decoder:
        door = Dcmd(floor.broker, floor.listener, decoder)

        async def by_dcmd(command: str, **arguments: tuple[str, Any]) -> Any:
            since, base = floor.listener.now, f"Commands/{command}"
            given = [{"name": f"{base}/Args/{n}", "type": t, "value": v} for n, (t, v) in arguments.items()]
            execute = {"name": f"{base}/Execute", "type": "Boolean", "value": True}
            await door.send("mill-1", *given, execute, at=floor.vendor.clock.now().timestamp())
            return (await door.answer("mill-1", since, command))[f"{base}/Result"]

        answer = await floor.ask("StartStep", PartUniqueIdentifier="PART1", StepNumber="10")
        assert (answer["status"], answer["result"], answer["vendor_code"]) == ("ok", "confirmed", 201), answer
        floor.vendor.clock.advance(60)
        answer = await floor.ask("FinishStep", QtyMade=1, ExpectPart="PART1")
        assert (answer["status"], answer["result"]) == ("ok", "confirmed"), answer
        told = await by_dcmd("StartStep", PartUniqueIdentifier=("String", "PART2"), StepNumber=("String", "20"))
        assert told == "confirmed"
        floor.vendor.clock.advance(60)
        told = await by_dcmd("FinishStep", QtyMade=("Double", 2.0), ExpectPart=("String", "PART2"))
        assert told == "confirmed"
        code, said = await floor.call("StartStep", "PartUniqueIdentifier=PART3", "StepNumber=30")
        assert (code, said.split(":")[0]) == (0, "confirmed"), said
        floor.vendor.clock.advance(60)
        code, said = await floor.call("FinishStep", "QtyMade=3", "ExpectPart=PART3")
        assert (code, said.split(":")[0]) == (0, "confirmed"), said
        made = [(step.label, step.metadata["quantity_made"], step.end is not None) for step in floor.steps]
        assert made == [("PART1", 1, True), ("PART2", 2, True), ("PART3", 3, True)]
        assert floor.written == ["POST", "PATCH"] * 3
