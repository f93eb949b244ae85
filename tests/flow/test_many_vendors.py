"""One machine fed by several vendors: one object, one device, one branch; losing a source touches only its part."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from asyncua import Client, Node, ua

from bridge.model.status import StatusCode
from bridge.model.tag import Tag
from bridge.sim.clock import VirtualClock
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from bridge.sim.quantiix import Machine, Quantiix
from bridge.sim.trackmymachines import Machine as Job
from bridge.sim.trackmymachines import TrackMyMachines
from tests.broker import broker, free_port
from tests.flow.lines import LinePeer
from tests.flow.plantfloor import MqttView, PlantFloor, SparkplugHost, compare, running_bridge, seen_sparkplug, until

EXTRUDER = "extruder-1"
SPEED = 20.0
"""Seconds of bridge and vendors in one of ours: the shortest period of Quantiix is half a minute."""

SITE = """
mappings: [mappings]
sources:
  panel: {{type: qitech, url: "http://127.0.0.1:{panel}", profile: 3.x}}
  account: {{type: quantiix, url: "{account}", email: me@acme.example, password: secret, state_period: 30s,
             activity_period: 60s}}
  jobs: {{type: trackmymachines, events_url: "{app}", step_events_url: "{com}", api_key: KEY, period: 5s,
          step_events_period: 60s}}
machines:
  - id: extruder-1
    area: extrusion
    line: line-1
    alive: {alive}
    parts:
      values: {{source: panel, machine: {{slug: extruder_v1, serial: 57922}}, mapping: acme/extruder}}
      job: {{source: jobs, machine: {{foreign_id: EX-1, number: 1}}, mapping: acme/job}}
      availability: {{source: account, machine: {{unique_id: ESSEN_7}}, mapping: acme/availability}}
"""
FACES = """
northbound:
  opcua: {{port: {opcua}, unsecured_read_only: true, hosts: [127.0.0.1]}}
  sparkplug: {{publish_interval: {interval}, datatype_in_data: true, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  uns: {{publish_interval: {interval}, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  status: {{port: 0}}
"""
MAPPINGS = {
    "extruder": "channels: {live_values: {stale_after: 60s, bad_after: 90s}, state: {bad_after: 90s}}\n"
    "extends: qitech/extruder\n",
    "availability": "channels: {state: &soon {stale_after: 100s, bad_after: 150s}, activity: *soon, kpi: *soon}\n"
    "extends: quantiix/machine\n",
    "job": "channels: {feed: &soon {stale_after: 100s, bad_after: 150s}, step: *soon, downtime: *soon, shift: *soon,\n"
    "  work_order: *soon, cycle: *soon, parts: *soon, kpi: *soon, totals: *soon}\n"
    "extends: trackmymachines/machine\n",
}
"""The shipped ones, less patient with a loss, and more patient with a computer that is twenty times too slow."""

SHOWN = {"values": "Monitoring.Temperature.Front", "job": "Job.Step.Part", "availability": "Status.State"}
"""A tag of each part that is Good once its source is read."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent stream counts as lost after two seconds of ours, however fast the clock runs."""
    monkeypatch.setattr("bridge.sources.qitech.stream.stall_of", lambda machine: 2.0 * SPEED)


class Vendors:
    """The simulators of one site."""

    def __init__(self, panel: Panel, jobs: TrackMyMachines, account: Quantiix) -> None:
        self.panel = panel
        self.jobs = jobs
        self.account = account


class Loss(NamedTuple):
    """One way to lose a source, and how it comes back."""

    part: str
    state: str
    begin: Callable[[Vendors], Awaitable[None]]
    end: Callable[[Vendors], Awaitable[None]]


async def _panel_off(vendors: Vendors) -> None:
    vendors.panel.faults.down()


async def _panel_on(vendors: Vendors) -> None:
    vendors.panel.faults.restart(0.1)


async def _account_off(vendors: Vendors) -> None:
    await vendors.account.refuse()


async def _account_on(vendors: Vendors) -> None:
    await vendors.account.accept()


async def _password_changed(vendors: Vendors) -> None:
    vendors.account.faults.set_password("another")
    vendors.account.faults.end_tokens()


async def _password_back(vendors: Vendors) -> None:
    vendors.account.faults.set_password("secret")


async def _jobs_off(vendors: Vendors) -> None:
    await vendors.jobs.refuse()


async def _jobs_on(vendors: Vendors) -> None:
    await vendors.jobs.accept()


async def _key_ended(vendors: Vendors) -> None:
    vendors.jobs.faults.expire_key("site")


async def _key_renewed(vendors: Vendors) -> None:
    vendors.jobs.faults.renew_key("site")


LOSSES = {
    "panel off": Loss("values", "Lost", _panel_off, _panel_on),
    "TrackMyMachines away": Loss("job", "Lost", _jobs_off, _jobs_on),
    "TrackMyMachines key": Loss("job", "Refused", _key_ended, _key_renewed),
    "Quantiix away": Loss("availability", "Lost", _account_off, _account_on),
    "Quantiix password": Loss("availability", "Refused", _password_changed, _password_back),
}


class Floor:
    """The composed machine as everybody sees it."""

    def __init__(self, plant: PlantFloor, view: MqttView, vendors: Vendors) -> None:
        self.plant = plant
        self.view = view
        self.vendors = vendors

    def tags(self, part: str | None = None) -> list[Tag]:
        """What the vendors' parts make, or one of them."""
        state = self.plant.bridge.keeper.states()[EXTRUDER]
        slots = {
            slot for name, made in state.bound.projections.items() if part in (None, name) for slot in made.slots()
        }
        return [tag for tag in state.machine.tags if tag.slot in slots]

    def status(self, tag: Tag) -> StatusCode:
        return self.plant.bridge.table.read(tag).status

    def good(self, part: str) -> list[Tag]:
        """The part's tags that are Good now; Status/ItemState is Good also where nobody knows it (OPC 40001-1)."""
        return [tag for tag in self.tags(part) if self.status(tag).is_good and tag.name != "Status/ItemState"]

    def connection(self, part: str, word: str) -> object:
        return self.plant.value(f"{EXTRUDER}.Connection.{part}.{word}").value

    def quality(self, tag: Tag) -> str | None:
        """What the UNS says of a tag."""
        topic = self.plant.bridge.faces["uns"].address(tag)
        document = json.loads(self.view.uns.get(topic) or b"{}")
        return document.get("quality")

    def is_whole(self) -> bool:
        return all(self.plant.value(f"{EXTRUDER}.{name}").status.is_good for name in SHOWN.values()) and all(
            self.connection(part, "StateText") == "Connected" for part in SHOWN
        )


def _organisation(clock: VirtualClock) -> TrackMyMachines:
    """One machine with a step and a shift that last: what is Good stays so unless it is lost."""
    jobs = TrackMyMachines([Job(1, "Extruder 1", "EX-1")], clock=clock)
    jobs.keys.issue("site", "KEY", writes=False)
    since, until = (f"{clock.now() + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (-1, 7))
    jobs.faults.insert("EX-1", "step", since, label="PART123")
    jobs.faults.insert("EX-1", "shift_period", since, until, "Early shift")
    return jobs


@asynccontextmanager
async def _refusing(*clouds: TrackMyMachines | Quantiix) -> AsyncIterator[None]:
    for cloud in clouds:
        await cloud.refuse()
    yield


@asynccontextmanager
async def composed(
    tmp_path: Path, alive: str = "primary", *, speed: float = SPEED, away: bool = False
) -> AsyncIterator[Floor]:
    """A running bridge whose extruder is made of every vendor; `away`: all but its panel refuse connections."""
    folder = tmp_path / "mappings"
    folder.mkdir()
    for name, text in MAPPINGS.items():
        (folder / f"{name}.yaml").write_text(f"version: 1\nmapping: acme/{name}\n{text}")
    clock = VirtualClock(None, speed)
    port, opcua = free_port(), free_port()
    async with (
        broker() as mqtt,
        MqttView(mqtt) as view,
        Panel(
            [SimulatedMachine("extruder_v1", 57922)], release="3.0", port=port, clock=clock, live_rate_hz=30 / speed
        ) as panel,
        _organisation(clock) as jobs,
        Quantiix([Machine("ESSEN_7", "Extruder")], email="me@acme.example", password="secret", clock=clock) as account,
        _refusing(jobs, account) if away else nullcontext(),
        running_bridge(
            tmp_path,
            SITE.format(panel=port, app=jobs.app_url, com=jobs.com_url, account=account.url, alive=alive),
            mqtt,
            faces=FACES.format(opcua=opcua, mqtt=mqtt.port, interval=f"{100 * speed:.0f}ms"),
            opcua=opcua,
            clock=clock,
        ) as plant,
    ):
        account.faults.state("ESSEN_7", "RUNNING", minutes_ago=120, minutes=600)
        floor = Floor(plant, view, Vendors(panel, jobs, account))
        await until(lambda: (away or floor.is_whole()) and f"DBIRTH/{EXTRUDER}" in view.kinds(), 30)
        yield floor


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("node")
async def test_all_parts_are_one_object_one_device_and_one_branch(tmp_path: Path) -> None:
    async with composed(tmp_path, "all") as floor, LinePeer("sparkplug_decoder.js") as decoder:
        names = {tag.name for tag in floor.tags()}
        assert {"Monitoring/Pressure", "Setpoints/ScrewSpeed", "Job/Step/Part", "KPI/Hour/Availability"} <= names
        async with Client(floor.plant.opcua_url) as client:
            node = client.get_node(f"ns=2;s={EXTRUDER}")
            below = {identifier async for identifier in _variables(node)}
        assert {tag.id for tag in floor.tags()} <= below

        births = [payload for topic, payload in floor.view.sparkplug if topic.endswith(f"/DBIRTH/bridge-1/{EXTRUDER}")]
        assert floor.view.kinds().count(f"DBIRTH/{EXTRUDER}") == 1
        assert {kind for kind in floor.view.kinds() if "/" in kind} <= {f"DBIRTH/{EXTRUDER}", f"DDATA/{EXTRUDER}"}
        born = await decoder.ask(base64.b64encode(births[0]).decode())
        assert names <= {metric["name"] for metric in born["metrics"]}

        branch = f"acme/essen/extrusion/line-1/{EXTRUDER}/"
        await until(lambda: {branch + name for name in names} <= floor.view.uns.keys())
        described = json.loads(floor.view.uns[f"{branch}_meta"])
        assert all(name in json.dumps(described) for name in names)


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("node")
async def test_a_device_is_born_by_its_rule_with_the_other_parts_empty_until_they_come(tmp_path: Path) -> None:
    async with composed(tmp_path, "primary", away=True) as floor, LinePeer("sparkplug_decoder.js") as decoder:
        host = SparkplugHost(floor.view, decoder)
        await host.catch_up()
        for part in ("job", "availability"):
            for tag in floor.tags(part):
                seen = seen_sparkplug(host.metrics[EXTRUDER, tag.name])
                assert (seen["value"], seen["quality"]) == (None, 0)
                assert floor.plant.bridge.table.read(tag).reason
        assert floor.plant.value(f"{EXTRUDER}.{SHOWN['values']}").status.is_good
        await _jobs_on(floor.vendors)
        await _account_on(floor.vendors)
        await until(floor.is_whole, 30)
        assert floor.view.kinds().count(f"DBIRTH/{EXTRUDER}") == 1


async def _variables(node: Node) -> AsyncIterator[str]:
    for child in await node.get_children(refs=ua.ObjectIds.HierarchicalReferences):
        if await child.read_node_class() is ua.NodeClass.Variable:
            yield str(child.nodeid.Identifier)
        async for below in _variables(child):
            yield below


@pytest.mark.parametrize(
    ("loss", "alive", "dies"),
    [
        ("panel off", "primary", True),
        ("panel off", "any", False),
        ("TrackMyMachines away", "primary", False),
        ("TrackMyMachines key", "all", True),
        ("Quantiix away", "any", False),
        ("Quantiix password", "availability", True),
    ],
)
@pytest.mark.timeout(300)
async def test_losing_a_source_touches_only_its_part(tmp_path: Path, loss: str, alive: str, dies: bool) -> None:
    part, state, begin, end = LOSSES[loss]
    async with composed(tmp_path, alive) as floor:
        mine = floor.good(part)
        shown = floor.plant.tag(f"{EXTRUDER}.{SHOWN[part]}")
        assert shown in mine
        untouched = [tag for name in SHOWN if name != part for tag in floor.good(name)]
        others = [name for name in SHOWN if name != part]
        assert untouched
        births = floor.view.kinds().count(f"DBIRTH/{EXTRUDER}")
        async with Witness(floor, untouched) as witness:
            await begin(floor.vendors)
            await until(lambda: all(floor.status(tag).is_uncertain for tag in mine), 30)
            assert floor.plant.bridge.table.read(shown).value is not None
            assert all(floor.plant.bridge.table.read(tag).reason for tag in mine)
            assert floor.connection(part, "StateText") == state
            assert floor.connection(part, "Reason")
            assert floor.connection(part, "Advice")
            await until(lambda: floor.quality(shown) == "Uncertain")
            await until(lambda: all(floor.status(tag).is_bad for tag in mine), 30)
            assert all(floor.plant.bridge.table.read(tag).reason for tag in mine)
            await until(lambda: floor.quality(shown) == "Bad")
            await until(lambda: floor.plant.value(f"{EXTRUDER}.Connection.Alive").value is not dies)
            if dies:
                await until(lambda: f"DDEATH/{EXTRUDER}" in floor.view.kinds())
            assert [floor.connection(name, "StateText") for name in others] == ["Connected"] * len(others)
            await end(floor.vendors)
            await until(lambda: all(floor.status(tag).is_good for tag in mine), 60)
            await until(floor.is_whole)
            assert floor.connection(part, "Reason") == ""
        assert witness.seen == {}
        assert (f"DDEATH/{EXTRUDER}" in floor.view.kinds()) is dies
        await until(lambda: floor.view.kinds().count(f"DBIRTH/{EXTRUDER}") == births + dies)


class Witness:
    """Sees every value of these tags that is not Good."""

    def __init__(self, floor: Floor, tags: list[Tag]) -> None:
        self._floor = floor
        self._names = {tag.slot: tag.name for tag in tags}
        self.seen: dict[str, str] = {}

    async def __aenter__(self) -> Witness:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        with self._floor.plant.bridge.table.subscribe("witness") as feed:
            async for batch in feed:
                for slot, value in batch.values.items():
                    if slot in self._names and not value.status.is_good:
                        self.seen[self._names[slot]] = f"{value.status.name} {value.reason}"


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("node")
async def test_the_three_faces_agree_on_a_machine_that_has_lost_a_part(tmp_path: Path) -> None:
    async with (
        composed(tmp_path, "availability", speed=1.0) as floor,
        LinePeer("opcua_reader.js", floor.plant.opcua_url) as reader,
        LinePeer("sparkplug_decoder.js") as decoder,
    ):
        host = SparkplugHost(floor.view, decoder)
        await _panel_off(floor.vendors)
        await until(lambda: not floor.good("values"), 30)
        differences: list[str] = ["not compared"]
        async with asyncio.timeout(30):
            while differences:
                before = floor.plant.bridge.table.updates_total
                differences = await compare(floor.plant, reader, host, floor.view)
                if floor.plant.bridge.table.updates_total != before:
                    differences = differences or ["it did not rest"]
                await asyncio.sleep(0.05)
        assert floor.good("availability")
        assert not floor.good("values")
