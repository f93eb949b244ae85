"""A site whose sources are played by simulators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import httpx
import pytest

from bridge.cli.simulators import private_broker
from bridge.config.site import SELECTORS, Site
from bridge.sim.cast import Cast, NoSimulator
from bridge.sim.qitech.panel import DEFAULT_MACHINES
from bridge.sim.qitech.site import machines_of
from bridge.sim.site import SIMULATORS, cast_of, simulated
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.quantiix.config import QuantiixConfig
from bridge.sources.trackmymachines.config import TrackMyMachinesConfig
from tests.sites import BASE, make_site

MANY = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "https://panel.example", username: machine, password: real, profile: 3.x}
  account: {type: quantiix, email: me@acme.example, password: no colon;, requests_per_minute: 200}
  jobs: {type: trackmymachines, events_url: "https://a.example", step_events_url: "https://b.example", api_key: KEY}
  nothing-named: {type: quantiix, email: you@acme.example, password: another}
machines:
  - id: extruder-1
    label: Extruder 1
    parts:
      values: {source: panel, machine: {slug: extruder_v1, serial: 57922}}
      job: {source: jobs, machine: {foreign_id: EX 1}}
      availability: {source: account, machine: {unique_id: ESSEN 7}}
  - {id: saw-1, source: account, machine: {unique_id: ESSEN_8}}
"""


def test_every_vendor_has_a_simulator() -> None:
    assert set(SELECTORS) - {"replay"} == set(SIMULATORS)  # a record plays itself


def test_the_named_machines_are_played(tmp_path: Path) -> None:
    cast = cast_of(make_site(tmp_path), "panel")
    assert [(m.slug, m.serial) for m in machines_of(cast, "3.0")] == [("mock", 1)]


def test_a_source_of_which_no_machine_is_named_plays_a_line() -> None:
    assert machines_of(Cast(), "3.0") == list(DEFAULT_MACHINES)


def test_a_machine_type_that_no_simulator_knows_is_told_by_id(tmp_path: Path) -> None:
    own = BASE.replace("machine: {slug: mock, serial: 1}", "machine: {machine: 4711, serial: 1}, mapping: qitech/mock")
    with pytest.raises(NoSimulator, match="mock-1 cannot be simulated: no simulator plays machine type 4711"):
        machines_of(cast_of(make_site(tmp_path, own), "panel"), "3.0")


async def test_an_account_has_the_machines_and_credentials_of_the_configuration(tmp_path: Path) -> None:
    async with simulated(make_site(tmp_path, MANY)) as site:
        assert await listed(site, "account") == {"ESSEN 7": "Extruder 1", "ESSEN_8": "saw-1"}
        assert len(await listed(site, "nothing-named")) == 4


async def test_what_a_person_wrote_stays_as_it_was_but_for_the_address(tmp_path: Path) -> None:
    real = make_site(tmp_path, MANY)
    async with simulated(real) as site:
        for name, config in real.file.sources.items():
            played = site.file.sources[name]
            access = {"url", "events_url", "step_events_url", "username", "password", "ca_file", "verify"}
            urls = [url for key in access if "url" in key and (url := getattr(played, key, None))]
            assert urls
            assert all(url.startswith("http://127.0.0.1:") for url in urls)
            assert played.model_dump(exclude=access) == config.model_dump(exclude=access)


async def test_an_organisation_has_the_machines_and_the_key_of_the_configuration(tmp_path: Path) -> None:
    async with simulated(make_site(tmp_path, MANY)) as site:
        config = site.file.sources["jobs"]
        assert isinstance(config, TrackMyMachinesConfig)
        now = datetime.now(UTC)
        window = {"from": _text(now - timedelta(hours=8)), "to": _text(now)}
        async with httpx.AsyncClient(base_url=config.events_url, verify=False) as http:
            refused = await http.get("/events", params=window, headers={"Authorization": "Bearer another"})
            answer = await http.get("/events", params=window, headers={"Authorization": "Bearer KEY"})
    assert refused.status_code == 401
    assert {event["machine_foreign_id"] for event in answer.raise_for_status().json()} == {"EX 1"}


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


async def listed(site: Site, source: str) -> dict[str, str]:
    """What Quantiix lists for who logs in as the configuration says: names by id."""
    config = site.file.sources[source]
    assert isinstance(config, QuantiixConfig)
    login = {"userEmail": config.email, "password": config.password.get_secret_value()}
    async with httpx.AsyncClient(base_url=config.url, verify=False) as http:
        token = (await http.post("/security/getAPIToken", json=login)).raise_for_status().json()["token"]
        answer = await http.get("/machineInfo", headers={"Authorization": f"Bearer {token}"})
    return {m["machineUniqueId"]: m["machineDisplayName"] for m in answer.json()["machines"]}


IOTISTICA = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  cloud:
    type: iotistica
    tenant: 73eddd385ce8
    rest: {url: "https://iotistica.example/api/v1", username: bridge, password: secret}
    mqtt: {broker: {host: broker.example}}
machines:
  - {id: hall-1, source: cloud, machine: {agent: d9069bba-f80e-424a-9c4c-583ea4deb9a4}, mapping: qitech/mock}
"""


async def test_an_installation_has_the_agents_the_tenant_the_login_and_a_broker_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sim.iotistica.site.AGENTS_AFTER_S", 0.0)
    async with simulated(make_site(tmp_path, IOTISTICA), private_broker) as site:
        config = site.file.sources["cloud"]
        assert isinstance(config, IotisticaConfig)
        assert config.rest is not None
        assert config.mqtt is not None
        async with httpx.AsyncClient(base_url=config.rest.url, verify=False) as http:
            login = await http.post("/auth/login", json={"username": "bridge", "password": "secret"})
            bearer = {"Authorization": f"Bearer {login.json()['data']['accessToken']}"}
            agents = (await http.get("/agents", headers=bearer)).json()["agents"]
        assert [agent["uuid"] for agent in agents] == ["d9069bba-f80e-424a-9c4c-583ea4deb9a4"]
        broker = config.mqtt.broker
        async with aiomqtt.Client(broker.host, broker.port) as client, asyncio.timeout(30):
            await client.subscribe("i/c-3dOFzo/a/2QabuvgOQkqcTFg-pN65pA/#", qos=1)
            async for message in client.messages:
                if message.payload:  # the next poll, within 5 s
                    break


async def test_agents_without_a_broker_cannot_be_played(tmp_path: Path) -> None:
    with pytest.raises(NoSimulator, match="need an MQTT broker"):
        async with simulated(make_site(tmp_path, IOTISTICA)):
            pass
