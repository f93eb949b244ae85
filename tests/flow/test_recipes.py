"""A recipe, whole: called as an OPC UA method and by MQTT, carried out by a simulated panel set point by set point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.qitech.panel import Panel
from bridge.transport.mqtt import Link, Message
from tests.broker import broker, free_port
from tests.flow.commanded import EXTRUDER, OPERATOR, faces, mutations, node, open_source, people, site
from tests.flow.opcua_peer import OpcuaPeer
from tests.flow.plantfloor import running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER_TAGS, is_good

LOAD = "extruder-1.Commands.LoadRecipe"
ASKED = {
    "NozzleTemperature": 190.0,
    "FrontTemperature": 180.5,
    "MiddleTemperature": 160.0,
    "BackTemperature": 150.0,
    "ScrewSpeed": 21.5,
    "Pressure": 82.0,
}
SET_POINTS = {
    "Temperature.Nozzle": 190.0,
    "Temperature.Front": 180.5,
    "Temperature.Middle": 160.0,
    "Temperature.Back": 150.0,
    "ScrewSpeed": 21.5,
    "Pressure": 82.0,
}


async def call(peer: OpcuaPeer, arguments: Mapping[str, float]) -> tuple[str, list[Any]]:
    """The method's status and outputs, for node-opcua."""
    given = [["Double", value] for value in arguments.values()]
    answer = await peer.ask(OPERATOR, "call", [node("extruder-1.Commands"), node(f"{LOAD}Call"), given])
    return answer["status"], answer["outputs"]


async def publish(link: Link, arguments: Mapping[str, float]) -> dict[str, Any]:
    """The answer on the result topic."""
    topic = "acme/essen/a/extruder-1/cmd/LoadRecipe"
    link.publish(Message(topic, json.dumps({"args": arguments}).encode(), qos=1))
    answer: dict[str, Any] = json.loads((await anext(link.messages())).payload)
    return answer


@pytest.mark.peer("mosquitto", "node")
@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_a_recipe_by_method_and_by_mqtt(tmp_path: Path, release: str) -> None:
    opcua = free_port()
    async with AsyncExitStack() as stack:
        mqtt = await stack.enter_async_context(broker())
        panel = await stack.enter_async_context(Panel([EXTRUDER], release=release, port=free_port()))
        text = faces(opcua, mqtt.port).replace("    trust:", "    answer_within: 20\n    trust:")
        rest = site(("1", panel, open_source()))
        floor = await stack.enter_async_context(running_bridge(tmp_path, rest, mqtt, faces=text, opcua=opcua))
        await until(lambda: is_good(floor, *EXTRUDER_TAGS))
        peer = await stack.enter_async_context(people(floor))

        assert await call(peer, ASKED) == ("Good", ["", 200, "confirmed"])
        values = {name: floor.value(f"extruder-1.Setpoints.{name}").value for name in SET_POINTS}
        assert values == pytest.approx(SET_POINTS)
        assert [event for event in await floor.bridge.log.newest(50) if "Setpoint" in event.kind] == []

        sent = len(mutations(panel))
        status, outputs = await call(peer, {**ASKED, "Pressure": 271.0})
        assert status == "BadOutOfRange"
        assert "Pressure is 271 bar" in outputs[0]
        assert len(mutations(panel)) == sent == len(ASKED)

        link = await stack.enter_async_context(Link.connect(mqtt.config, "commander"))
        await link.subscribe("acme/essen/_bridge/bridge-1/online", 1)
        while not json.loads((await anext(link.messages())).payload)["online"]:
            pass
        link.unsubscribe("acme/essen/_bridge/bridge-1/online")
        await link.subscribe("acme/essen/a/extruder-1/cmd/LoadRecipe/result", 1)
        machine = panel.machine("extruder_v1", 57922)
        plainly = machine.mutate
        machine.mutate = lambda mutation: None if "SetMiddleHeatingTemperature" in mutation else plainly(mutation)
        answer = await publish(link, {name: value + 1 for name, value in ASKED.items()})
        assert (answer["status"], answer["result"]) == ("error", "unknown")
        assert answer["sentence"].startswith("Item 3 of 6 (Setpoints/Temperature/Middle): ")
        assert answer["sentence"].endswith("; 2 done, 3 not sent")
        assert [item["result"] for item in answer["items"]] == ["confirmed"] * 2 + ["unknown"] + ["unreached"] * 3
        assert answer["items"][0] == {
            "target": "extruder-1.Setpoints.Temperature.Nozzle",
            "value": 191.0,
            "result": "confirmed",
            "sentence": "The machine reads back what was asked",
            "actual": None,
        }
        assert floor.value("extruder-1.Setpoints.ScrewSpeed").value == pytest.approx(21.5)
        assert floor.value("extruder-1.Commands.Last.Sentence").value == answer["sentence"]
        assert panel.forbidden_requests == 0
        assert panel.crashes == []
