from __future__ import annotations

import asyncio
import json
import signal
import sys

import aiomqtt
import httpx
import pytest

from bridge.cli.main import main
from bridge.cli.simulate import RELEASES
from bridge.sim import iotistica, quantiix, trackmymachines
from bridge.sim.qitech import FAULTS
from bridge.sim.qitech import RELEASES as KNOWN


def outcome(*arguments: str, vendor: str = "qitech") -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", vendor, *arguments])
    return caught.value.code


def test_releases_offered_are_those_of_the_simulator() -> None:
    assert RELEASES == KNOWN


def test_every_fault_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--faults") == 0
    out = capsys.readouterr().out
    assert all(f"{name}(" in out for name in FAULTS)


@pytest.mark.parametrize(
    ("vendor", "faults"),
    [("trackmymachines", trackmymachines.FAULTS), ("quantiix", quantiix.FAULTS), ("iotistica", iotistica.FAULTS)],
)
def test_every_fault_of_the_other_vendors_is_listed(
    vendor: str, faults: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--faults", vendor=vendor) == 0
    out = capsys.readouterr().out
    assert all(f"{name}(" in out for name in faults)


@pytest.mark.parametrize("switch", ["clip=maybe", "nope=1", "clip"])
def test_quantiix_says_what_it_expects(switch: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--set", switch, vendor="quantiix") == 2
    err = capsys.readouterr().err
    assert "expected" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [("--set", "edition=2024"), ("--set", "nope=1"), ("--set", "edition"), ("--start", "noon")]
)
def test_trackmymachines_says_what_it_expects(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(*arguments, vendor="trackmymachines") == 2
    err = capsys.readouterr().err
    assert "expected" in err
    assert "Traceback" not in err


def test_two_machines_of_one_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--machine", "A=1", "--machine", "A=2", vendor="trackmymachines") == 2
    assert "display_name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "machine", ["extruder_v1", "extruder_v1:", ":1", "extruder_v1:65536", "extruder_v1:9999999", "nope:1"]
)
def test_machine_no_panel_could_have_is_refused(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--machine", machine) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_panel_serves_until_told_to_stop(stop: signal.Signals, code: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "simulate", "qitech", "--port", "0", "--control-port", "0", "--json",
        "--machine", "extruder_v1:57922", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    facts = json.loads(await process.stdout.readline())
    assert facts["machines"] == ["extruder_v1:57922"]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{facts['url']}/api/v2/machine")).status_code == 200
        assert (await client.post(f"{facts['control']}/faults/slow", json={"seconds": 0})).status_code == 200
    process.send_signal(stop)
    _, err = await process.communicate()
    assert (process.returncode, err.strip()) == (code, b"")


@pytest.mark.parametrize("arguments", [("--set", "profile=third"), ("--set", "nope=1"), ("--broker", "nowhere")])
def test_iotistica_says_what_it_expects(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(*arguments, vendor="iotistica") == 2
    err = capsys.readouterr().err
    assert "expected" in err
    assert "Traceback" not in err


async def test_iotistica_serves_an_api_and_a_broker_with_agents() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "simulate", "iotistica", "--port", "0", "--mqtt-port", "0",
        "--control-port", "0", "--agents", "2", "--devices", "1", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    facts = json.loads(await process.stdout.readline())
    login = {"username": facts["username"], "password": facts["password"]}
    async with httpx.AsyncClient(base_url=facts["url"], timeout=30) as client:
        told = (await client.post("/api/v1/auth/login", json=login)).json()["data"]
        bearer = {"Authorization": f"Bearer {told['accessToken']}"}
        agents = (await client.get("/api/v1/agents", headers=bearer)).json()
        assert [agent["uuid"] for agent in agents["agents"]] == facts["agents"]
        assert (await client.post(f"{facts['control']}/faults/zip_bomb", json={"agent": facts["agents"][0]})).is_success
    async with aiomqtt.Client("127.0.0.1", int(facts["mqtt"].rpartition(":")[2])) as client, asyncio.timeout(30):
        await client.subscribe("i/self-hosted/a/+/endpoints/#", qos=1)
        async for message in client.messages:
            if message.payload:
                break
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    assert (process.returncode, err.strip()) == (0, b"")


async def test_trackmymachines_serves_a_running_floor_on_two_ports() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "simulate", "trackmymachines", "--app-port", "0", "--com-port", "0",
        "--machine", "Mill 1=MILL1", "--machine", "Mill 2", "--control-port", "0", "--speed", "0",
        "--start", "2025-05-27T12:00:00Z", "--set", "edition=2025-07", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    facts = json.loads(await process.stdout.readline())
    bearer = {"Authorization": f"Bearer {facts['keys']['ro']}"}
    window = {"from": "2025-05-27T11:00:00Z", "to": "2025-05-27T12:00:00Z"}
    async with httpx.AsyncClient(headers=bearer, timeout=30) as client:
        events = await client.get(f"{facts['events']}/api/v1/events", params=window)
        assert {"cycle", "step", "part_count"} <= {row["type"] for row in events.json()}
        assert {row["machine_foreign_id"] for row in events.json()} == {"MILL1", None}
        assert facts["machines"][0] == {"display_name": "Mill 1", "foreign_id": "MILL1", "number": 1}
        assert isinstance((await client.get(f"{facts['step_events']}/api/v1/step_events")).json(), list)
        assert (await client.post(f"{facts['control']}/faults/throttle", json={})).status_code == 200
        assert (await client.get(f"{facts['events']}/api/v1/events", params=window)).status_code == 429
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    assert (process.returncode, err.strip()) == (0, b"")


async def test_quantiix_serves_machines_to_who_logs_in() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "simulate", "quantiix", "--port", "0", "--control-port", "0", "--machines", "7",
        "--set", "window=sliding", "--email", "me@example.com", "--password", "secret", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    facts = json.loads(await process.stdout.readline())
    credentials = {"userEmail": facts["email"], "password": facts["password"]}
    async with httpx.AsyncClient(timeout=30) as client:
        token = (await client.post(f"{facts['url']}/security/getAPIToken", json=credentials)).json()["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        listed = (await client.get(f"{facts['url']}/machineInfo", headers=bearer)).json()["machines"]
        assert [machine["machineUniqueId"] for machine in listed] == facts["machines"]
        assert len(listed) == 7
        assert (await client.post(f"{facts['control']}/faults/end_tokens")).status_code == 200
        assert (await client.get(f"{facts['url']}/machineInfo", headers=bearer)).status_code == 401
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    assert (process.returncode, err.strip()) == (0, b"")
