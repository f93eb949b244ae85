"""The plant keeper: what sources say becomes plant, values and qualities; on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.connection import ConnectionState
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.plant import ALIVE
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.runtime.inventory import InventoryStore
from bridge.runtime.plant_keeper import PlantKeeper
from bridge.transport.clock import VirtualClock
from tests.one_of_everything import NoEvents
from tests.sites import BASE, make_site

STATE = {"frequency1": 100.0, "frequency2": 200.0, "frequency3": 500.0, "mode_state": {"mode": "Running"}}
LIVE = {"amplitude_sum": 0.5, "amplitude1": 0.1, "amplitude2": 0.2, "amplitude3": 0.2}


class House:
    """A keeper with a table, a virtual clock and the events it appended."""

    def __init__(
        self, folder: Path, text: str = BASE, slots: int = 100_000, history: HistoryStore | None = None
    ) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.events: list[Event] = []
        inventory = InventoryStore(folder / "inventory.json", 10)
        inventory.load()
        self.keeper = PlantKeeper(make_site(folder, text), inventory, Slots(slots), self.clock, self.events.append)
        self.table = Table(self.keeper.first_plant(), self.clock, NoEvents(), history)  # type: ignore[arg-type]
        self.keeper.attach(self.table)

    def read(self, identifier: str) -> DataValue:
        tag = self.table.plant.find(identifier)
        assert tag is not None, identifier
        return self.table.read(tag)

    def observe(self, channel: str, payload: Any, machine: str = "1/7/1", source: str = "panel") -> None:
        self.keeper.publish(Observation(source, machine, channel, payload, self.clock.now()))

    def lose(self, status: StatusCode = StatusCode.UncertainNoCommunicationLastUsableValue, **more: Any) -> None:
        self.keeper.publish(Condition("panel", status, "The panel is gone", self.clock.now(), **more))

    async def wait(self, seconds: float, step: float = 0.25) -> None:
        for _ in range(round(seconds / step)):
            await self.clock.advance(step)
            self.keeper.tick()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def restarted(tmp_path: Path) -> Callable[[], House]:
    return lambda: House(tmp_path)


async def test_nodes_exist_before_anything_is_heard(house: House) -> None:
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.BadWaitingForInitialData
    assert house.read("mock-1.Connection.values.StateText").value == "Waiting"
    assert house.read("mock-1.Connection.Alive").value is False


async def test_values_flow_and_the_connection_says_so(house: House) -> None:
    house.observe("live_values", LIVE)
    house.observe("state", STATE)
    assert house.read("mock-1.Monitoring.AmplitudeSum").value == 0.5
    assert house.read("mock-1.Setpoints.ModeText").value == "Running"
    assert house.read("mock-1.Status.ItemState").value == 3
    assert house.read("mock-1.Connection.values.State").value == int(ConnectionState.Connected)
    assert house.read("mock-1.Connection.Alive").value is True
    assert house.read("mock-2.Connection.Alive").value is False


async def test_an_idle_hour_leaves_set_points_good_while_live_values_flow(house: House) -> None:
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    before = house.read("mock-1.Setpoints.Frequency1")
    for minute in range(3600):
        house.observe("live_values", {**LIVE, "amplitude1": minute % 7 / 10})
        await house.wait(1.0, step=1.0)
    assert house.read("mock-1.Setpoints.Frequency1") is before
    assert before.status is StatusCode.Good
    assert house.read("mock-1.Connection.values.StateText").value == "Connected"


async def test_silence_makes_both_channels_uncertain_then_bad_and_the_stream_alone_brings_both_back(
    house: House,
) -> None:
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    await house.wait(3)
    for name in ("Monitoring.AmplitudeSum", "Setpoints.Frequency1"):
        value = house.read(f"mock-1.{name}")
        assert value.status is StatusCode.UncertainLastUsableValue
        assert value.value is not None
        assert "heard" in value.reason
    assert house.read("mock-1.Connection.values.StateText").value == "Silent"
    house.observe("live_values", LIVE)
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.Good
    assert house.read("mock-1.Setpoints.Frequency1").status is StatusCode.Good
    await house.wait(12)
    assert house.read("mock-1.Setpoints.Frequency1").status is StatusCode.BadNoCommunication
    assert house.read("mock-1.Setpoints.Frequency1").value is None
    assert house.read("mock-1.Status.ItemState").value == 0
    assert house.read("mock-1.Connection.Alive").value is False
    assert house.read("mock-1.Connection.values.Age").value == 12.0


async def test_loss_of_a_source_touches_only_its_machines_and_only_values_end_it(house: House) -> None:
    for machine, source in (("1/7/1", "panel"), ("1/7/2", "other")):
        house.observe("state", STATE, machine, source)
        house.observe("live_values", LIVE, machine, source)
    house.lose(advice="Look at the panel")
    lost = house.read("mock-1.Monitoring.AmplitudeSum")
    assert (lost.status, lost.value) == (StatusCode.UncertainNoCommunicationLastUsableValue, 0.5)
    assert lost.reason == "The panel is gone"
    assert house.read("mock-1.Connection.values.Reason").value == "The panel is gone"
    assert house.read("mock-1.Connection.values.Advice").value == "Look at the panel"
    assert house.read("mock-1.Connection.values.StateText").value == "Lost"
    assert house.read("mock-2.Monitoring.AmplitudeSum").status is StatusCode.Good
    assert house.read("mock-1.Connection.Alive").value is True
    await house.wait(1)
    house.observe("live_values", LIVE)
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.Good
    assert house.read("mock-1.Setpoints.Frequency1").status.is_uncertain
    assert house.read("mock-1.Connection.values.StateText").value == "Lost"
    house.observe("state", STATE)
    assert house.read("mock-1.Setpoints.Frequency1").status is StatusCode.Good
    assert house.read("mock-1.Connection.values.StateText").value == "Connected"


async def test_loss_turns_bad_and_the_device_dies(house: House) -> None:
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    house.lose()
    await house.wait(11)
    assert house.read("mock-1.Setpoints.Frequency1").status is StatusCode.BadNoCommunication
    assert house.read("mock-1.Connection.Alive").value is False


async def test_credentials_refused_are_named(house: House) -> None:
    house.lose(StatusCode.BadConfigurationError)
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.BadConfigurationError
    assert house.read("mock-1.Connection.values.StateText").value == "Refused"


async def test_a_source_that_never_came_is_not_connected(house: House) -> None:
    house.lose()
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.BadNotConnected


async def test_a_machine_that_vanishes_turns_uncertain_then_bad_and_returns(house: House) -> None:
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    house.keeper.publish(Inventory("panel", vanished=("1/7/1",)))
    assert house.read("mock-1.Monitoring.AmplitudeSum").status.is_uncertain
    assert house.read("mock-1.Connection.values.StateText").value == "Vanished"
    await house.wait(11)
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.BadDeviceFailure
    assert "lists" in house.read("mock-1.Monitoring.AmplitudeSum").reason
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.Good


async def test_a_machine_the_vendor_calls_faulty_is_out_of_service(house: House) -> None:
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    found = FoundMachine("1/7/1", {"vendor": 1, "machine": 7, "serial": 1}, "no EtherCAT device")
    house.keeper.publish(Inventory("panel", appeared=(found,)))
    assert house.read("mock-1.Status.ItemState").value == 1
    assert house.read("mock-1.Connection.values.StateText").value == "Failed"
    assert "no EtherCAT device" in house.read("mock-1.Connection.values.Reason").value  # type: ignore[operator]


async def test_a_found_machine_appears_and_is_there_after_a_restart(
    house: House, restarted: Callable[[], House]
) -> None:
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock", "profile": "3.x"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    house.observe("live_values", LIVE, "1/7/9")
    assert house.read("panel-mock-9.Monitoring.AmplitudeSum").value == 0.5
    again = restarted()
    assert again.read("panel-mock-9.Monitoring.AmplitudeSum").status is StatusCode.BadWaitingForInitialData


async def test_a_found_machine_waits_where_adoption_is_wanted(tmp_path: Path) -> None:
    house = House(tmp_path, BASE + "discovery: adopt\n")
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    assert list(house.keeper.waiting_for_adoption) == [("panel", "1/7/9")]
    assert "panel-mock-9" not in house.table.plant.machines


async def test_an_adopted_machine_is_read_and_stays_after_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path, BASE + "discovery: adopt\n")
    wanted = house.keeper.wanted("panel")
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock", "profile": "3.x"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    with pytest.raises(KeyError):
        house.keeper.adopt(("panel", "1/7/10"), "eva")
    assert house.keeper.adopt(("panel", "1/7/9"), "eva") == "panel-mock-9"
    assert wanted == {"1/7/1", "1/7/9"}
    house.observe("live_values", LIVE, "1/7/9")
    assert house.read("panel-mock-9.Monitoring.AmplitudeSum").value == 0.5
    assert "eva took" in next(event.message for event in house.events if event.kind == "MachineAdopted")
    again = House(tmp_path, BASE + "discovery: adopt\n")
    assert "panel-mock-9" in again.table.plant.machines
    assert again.keeper.waiting_for_adoption == {}


async def test_a_machine_nobody_has_a_mapping_for_is_told_once(house: House) -> None:
    identity = {"vendor": 1, "machine": 9999, "serial": 9, "slug": "rewinder"}
    for serial in ("a", "a"):
        house.keeper.publish(Inventory("panel", appeared=(FoundMachine(f"1/9999/{serial}", identity),)))
    assert [event.kind for event in house.events].count("MachineWithoutMapping") == 1


async def test_more_machines_than_the_limit_are_refused_with_an_event(house: House) -> None:
    for serial in range(12):
        identity = {"vendor": 1, "machine": 7, "serial": 100 + serial, "slug": "mock"}
        house.keeper.publish(Inventory("panel", appeared=(FoundMachine(f"1/7/{100 + serial}", identity),)))
    assert len(house.table.plant.machines) == 2 + 10
    assert [event.kind for event in house.events].count("MachineRefused") == 2


async def test_what_a_source_says_of_itself_is_a_tag_of_the_bridge(house: House) -> None:
    house.keeper.publish(Reading("panel", "ClockOffset", 0.25, house.clock.now()))
    assert house.read("Bridge.Sources.panel.ClockOffset").value == 0.25
    house.keeper.publish(Reading("panel", "SomethingNew", 1, house.clock.now()))


async def test_an_event_of_a_source_goes_to_the_log(house: House) -> None:
    event = Event("id", "Notice", house.clock.now(), "Pump off")
    house.keeper.publish(event)
    assert house.events == [event]


async def test_an_event_of_a_vendors_machine_gets_the_plants_id(house: House) -> None:
    house.keeper.publish(Event("id", "Notice", house.clock.now(), "Pump off", source="panel", machine="1/7/1"))
    assert [event.machine for event in house.events] == ["mock-1"]


async def test_only_named_machines_are_wanted_where_adoption_is_asked(tmp_path: Path) -> None:
    assert House(tmp_path).keeper.wanted("panel") is None
    assert House(tmp_path, BASE + "discovery: adopt\n").keeper.wanted("panel") == {"1/7/1"}


async def test_unchanged_machines_are_not_compiled_again(house: House) -> None:
    before = dict(house.table.plant.machines)
    house.keeper.rebuild()
    assert all(house.table.plant.machines[name] is machine for name, machine in before.items())
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    assert house.table.plant.machines["mock-1"] is before["mock-1"]


async def test_values_survive_the_appearance_of_another_machine(house: House) -> None:
    house.observe("live_values", LIVE)
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    assert house.read("mock-1.Monitoring.AmplitudeSum").value == 0.5
    assert house.read(f"mock-1.{ALIVE.replace('/', '.')}").value is True


async def test_machines_beyond_the_tag_limit_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    whole = House(tmp_path).table.plant
    house = House(tmp_path, slots=len(whole.bridge.tags) + len(whole.machines["mock-1"].tags))
    assert list(house.table.plant.machines) == ["mock-1"]
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    for _ in range(2):
        house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    house.observe("live_values", LIVE)
    assert house.read("mock-1.Monitoring.AmplitudeSum").value == 0.5
    refused = [event.message for event in house.events if event.kind == "MachineRefused"]
    assert len(refused) == 2
    assert all("limits.tags" in message for message in refused)


async def test_a_found_machine_never_takes_the_id_of_a_named_one(tmp_path: Path) -> None:
    house = House(tmp_path)
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    house.keeper.site = make_site(tmp_path, BASE.replace("id: mock-1", "id: PANEL-mock-9"))
    house.keeper.rebuild()
    assert list(house.table.plant.machines) == ["PANEL-mock-9", "mock-2"]
    assert house.table.plant.machines["PANEL-mock-9"].parts[0].source_machine == "1/7/1"
    assert "panel-mock-9" in house.keeper.refused
    assert "another" in house.keeper.refused["panel-mock-9"]


async def test_a_machine_that_waits_for_adoption_is_told_once(tmp_path: Path) -> None:
    house = House(tmp_path, BASE + "discovery: adopt\n")
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    house.keeper.rebuild()
    waiting = [event.message for event in house.events if event.kind == "MachineWaiting"]
    assert len(waiting) == 1
    assert "serial 9" in waiting[0]


async def test_a_full_disk_does_not_keep_a_found_machine_away(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("bridge.runtime.inventory.write_atomically", full)
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    assert "panel-mock-9" in house.table.plant.machines
    assert "No space left" in caplog.text


async def test_a_historical_observation_goes_to_the_history_and_is_no_sign_of_life(tmp_path: Path) -> None:
    bounds = Bounds(1_000_000, timedelta(days=1))
    async with HistoryStore(tmp_path / "history.db", VirtualClock(), bounds) as store:
        house = House(tmp_path, history=store)
        now = house.clock.now()
        earlier = now - timedelta(hours=2)
        house.keeper.publish(
            Observation("panel", "1/7/1", "live_values", LIVE, now, source_time=earlier, historical=True)
        )
        assert house.read("mock-1.Monitoring.AmplitudeSum").status is StatusCode.BadWaitingForInitialData
        assert house.read("mock-1.Connection.values.StateText").value == "Waiting"
        page = await store.query("mock-1.Monitoring.AmplitudeSum")
        assert [row.value for row in page.values] == [DataValue(0.5, StatusCode.Good, earlier, now)]
        assert not (await store.query("mock-1.Monitoring.AmplitudeSum", start=now)).values


TWO_PARTS = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "http://127.0.0.1:3001", profile: 3.x}
  q: {type: quantiix, url: "http://127.0.0.1:3002", email: a@b.example, password: secret}
machines:
  - id: mock-1
    area: lab
    parts:
      values: {source: panel, machine: {slug: mock, serial: 1}}
      availability: {source: q, machine: {unique_id: M1}}
"""
KPI = {"availability": 75.0, "coverage": 100.0, "mtbf": None, "mttr": None, "enough": True, "stops": 0}


async def test_what_happens_to_one_part_of_a_machine_is_told_with_its_name_and_source(tmp_path: Path) -> None:
    house = House(tmp_path, TWO_PARTS)
    house.observe("kpi", {"hour": KPI}, "M1", "q")
    house.keeper.publish(Condition("q", StatusCode.UncertainLastUsableValue, "Gone", house.clock.now()))
    house.observe("kpi", {"hour": KPI}, "M1", "q")
    assert [event.message for event in house.events if event.machine] == [
        "mock-1 (availability, from q): values flow",
        "mock-1 (availability, from q): Gone",
        "mock-1 (availability, from q): values flow",
    ]


async def test_a_figure_that_has_no_stop_to_count_by_says_so(tmp_path: Path) -> None:
    house = House(tmp_path, TWO_PARTS)
    house.observe("kpi", {"hour": KPI, "day": {**KPI, "stops": 2, "mtbf": 15.0, "mttr": 5.0}}, "M1", "q")
    for name in ("MTBF", "MTTR"):
        value = house.read(f"mock-1.KPI.Hour.{name}")
        assert (value.status, value.reason) == (StatusCode.BadNoData, "There was no stop in this window")
        assert house.read(f"mock-1.KPI.Day.{name}").status is StatusCode.Good


async def test_a_silence_is_an_event_as_its_end_is(house: House) -> None:
    house.observe("live_values", LIVE)
    await house.wait(5)
    house.observe("live_values", LIVE)
    told = [(event.kind, event.machine) for event in house.events if event.machine == "mock-1"]
    assert told == [("MachineConnected", "mock-1"), ("MachineLost", "mock-1"), ("MachineReturned", "mock-1")]
    lost = next(event for event in house.events if event.kind == "MachineLost")
    assert lost.message.startswith("mock-1: Nothing has been heard for")
