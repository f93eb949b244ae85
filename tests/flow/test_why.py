"""`plantbridge why` about a running bridge: from the panel's payload to what every face said."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client

from bridge.cli.main import main
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.ports import Witness
from bridge.sim.qitech.panel import Panel
from tests.broker import broker
from tests.flow.plantfloor import PlantFloor, running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER, is_good, site

TAG = "extruder-1.Monitoring.Temperature.Front"


class Asked:
    """The verb, in a thread of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], state: Path) -> None:
        self._capsys = capsys
        self._state = state

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        def run() -> int:
            with pytest.raises(SystemExit) as caught:
                main(["why", *arguments, "--state-dir", str(self._state)])
            return int(caught.value.code or 0)

        code = await asyncio.to_thread(run)
        return (code, *self._capsys.readouterr())

    async def json(self, *arguments: str) -> dict[str, Any]:
        code, out, err = await self(*arguments, "--json")
        assert (code, err) == (0, "")
        told: dict[str, Any] = json.loads(out)
        return told


@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_why_tells_the_whole_way_of_a_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], release: str
) -> None:
    async with broker() as mqtt, Panel([EXTRUDER], release=release) as panel:
        port = int(panel.url.rpartition(":")[2])
        async with running_bridge(tmp_path, site(port), mqtt) as floor:
            ask = Asked(capsys, tmp_path / "state")
            await until(lambda: is_good(floor, TAG))
            await until(lambda: is_told_by_all(floor))
            told = await ask.json(TAG)
            why = told["explain"]
            assert (why["source"], why["source_type"], why["connection"]) == ("panel-1", "qitech", "Connected")
            assert why["mapping"] == "qitech/extruder"
            [path] = [path for path in why["paths"] if path["chosen"]]
            assert path["path"].startswith("live_values.")
            field = path["path"].rpartition(".")[2]
            assert field in json.dumps(why["payload"]["live_values"])
            assert why["steps"][0]["rule"] == "type: Double"
            heard = why["observation"]
            if release == "3.0":
                assert heard["origin"] == "Socket.IO, namespace /machine/1/4/57922"
            else:
                assert heard["origin"] == f"GET {panel.url}/api/v2/machine/extruder_v1/57922"
            assert why["freshness"]["state"] == "fresh"
            assert why["quality"]["by"] == ""
            assert why["faces"]["opcua"]["readers"] == 0
            assert why["faces"]["uns"]["address"] == "acme/essen/a/extruder-1/Monitoring/Temperature/Front"
            assert all(face["status"] == "Good" for face in why["faces"].values())

            for address in (f"ns=2;s={TAG}", *(face["address"] for face in why["faces"].values())):
                assert (await ask.json(address))["id"] == TAG

            code, out, _ = await ask(TAG)
            assert code == 0
            assert out.startswith(f"{TAG} = ")
            assert "taken from here" in out
            assert "no subscriptions to it" in out

            async with Client(floor.opcua_url) as client:
                subscription = await client.create_subscription(100, _Nobody())
                await subscription.subscribe_data_change(client.get_node(f"ns=2;s={TAG}"))
                assert (await ask.json(TAG))["explain"]["faces"]["opcua"]["readers"] == 1

            panel.faults.down()
            await until(lambda: floor.value(TAG).status is not StatusCode.Good)
            why = (await ask.json(TAG))["explain"]
            assert (why["quality"]["by"], why["connection"]) in {("connection", "Lost"), ("connection", "Silent")}
            code, out, _ = await ask(TAG)
            assert "decided by: the connection to the machine" in out


async def test_why_of_what_the_bridge_says_itself_and_of_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with broker() as mqtt, running_bridge(tmp_path, site(1), mqtt) as floor:
        ask = Asked(capsys, tmp_path / "state")
        why = (await ask.json("extruder-1.Connection.Alive"))["explain"]
        assert (why["owner"], "connection to the machine" in why["about"]) == ("bridge", True)
        why = (await ask.json("extruder-1.Monitoring.Temperature.Front"))["explain"]
        assert (why["observation"], why["change"]) == (None, "Nothing has come on this channel yet")
        await until(lambda: floor.bridge.faces["sparkplug"].is_online)  # type: ignore[attr-defined]
        why = (await ask.json(TAG))["explain"]
        assert why["faces"]["sparkplug"]["why_not"] == "the device extruder-1 is dead: its Connection/Alive is not true"
        payload = {"front_temperature": 20.0, "session_token": "hunter2", "operator": "anna@acme.example"}
        now = floor.bridge.clock.now()
        floor.bridge.keeper.publish(Observation("panel-1", "1/4/57922", "live_values", payload, now))
        code, out, _ = await ask(TAG)
        assert (code, '"front_temperature": 20.0' in out) == (0, True)
        assert "hunter2" not in out
        assert "anna@" not in out
        code, _, err = await ask("extruder-1.Nothing")
        assert (code, "there is no tag with this id or address" in err) == (1, True)


def is_told_by_all(floor: PlantFloor) -> bool:
    faces, tag = floor.bridge.faces.values(), floor.tag(TAG)
    return all(isinstance(face, Witness) and face.told(tag).value is not None for face in faces)


class _Nobody:
    def datachange_notification(self, *_: object) -> None:
        """Not looked at."""


async def test_the_log_level_of_a_part_changes_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with broker() as mqtt, running_bridge(tmp_path, site(1), mqtt):
        logger = logging.getLogger("bridge.northbound.uns")
        before = logger.level

        def run(*words: str) -> int:
            with pytest.raises(SystemExit) as caught:
                main(["log-level", *words, "--state-dir", str(tmp_path / "state")])
            return int(caught.value.code or 0)

        try:
            assert await asyncio.to_thread(run, "uns", "debug") == 0
            assert logger.isEnabledFor(logging.DEBUG)
            assert "uns              debug" in capsys.readouterr().out
            assert await asyncio.to_thread(run, "usn", "debug") == 1
            assert 'did you mean "uns"?' in capsys.readouterr().err
        finally:
            logger.setLevel(before)
