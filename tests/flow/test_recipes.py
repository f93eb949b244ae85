"""A recipe, whole: called as an OPC UA method and by MQTT, carried out by a simulated panel set point by set point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from bridge.northbound.opcua.passwords import hash_password
from bridge.sim.qitech.panel import Panel
from bridge.transport.mqtt import Link, Message
from tests.broker import broker, free_port
from tests.flow.plantfloor import running_bridge, until
from tests.flow.test_commands import FACES, PASSWORD, logged_in, site
from tests.flow.test_loss_and_return import EXTRUDER, EXTRUDER_TAGS, is_good

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


async def call(client: Client, arguments: Mapping[str, float]) -> tuple[str, list[Any]]:
    """The method's status and outputs."""
    given = [ua.Variant(value, ua.VariantType.Double) for value in arguments.values()]
    parent, method = ua.NodeId("extruder-1.Commands", 2), ua.NodeId(f"{LOAD}Call", 2)
    (result,) = await client.uaclient.call([ua.CallMethodRequest(parent, method, given)])
    return result.StatusCode.name, [one.Value for one in result.OutputArguments]


async def publish(link: Link, arguments: Mapping[str, float]) -> dict[str, Any]:
    """The answer on the result topic."""
    topic = "acme/essen/a/extruder-1/cmd/LoadRecipe"
    link.publish(Message(topic, json.dumps({"args": arguments}).encode(), qos=1))
    answer: dict[str, Any] = json.loads((await anext(link.messages())).payload)
    return answer


@pytest.mark.peer("mosquitto")
@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_a_recipe_by_method_and_by_mqtt(tmp_path: Path, release: str) -> None:
    port, opcua = free_port(), free_port()
    async with AsyncExitStack() as stack:
        mqtt = await stack.enter_async_context(broker())
        panel = await stack.enter_async_context(Panel([EXTRUDER], release=release, port=port))
        faces = FACES.format(opcua=opcua, mqtt=mqtt.port, hashed=hash_password(PASSWORD))
        faces = faces.replace("    trust:", "    answer_within: 20\n    trust:")
        floor = await stack.enter_async_context(running_bridge(tmp_path, site(port), mqtt, faces=faces, opcua=opcua))
        await until(lambda: is_good(floor, *EXTRUDER_TAGS))
        client = await logged_in(floor, tmp_path, stack)

        assert await call(client, ASKED) == ("Good", ["", 200, "confirmed"])
        values = {name: floor.value(f"extruder-1.Setpoints.{name}").value for name in SET_POINTS}
        assert values == pytest.approx(SET_POINTS)
        assert [event for event in await floor.bridge.log.newest(50) if "Setpoint" in event.kind] == []

        sent = len(panel.journal)
        status, outputs = await call(client, {**ASKED, "Pressure": 271.0})
        assert status == "BadOutOfRange"
        assert "Pressure is 271 bar" in outputs[0]
        assert not [one for one in list(panel.journal)[sent:] if one.method == "POST"]

        link = await stack.enter_async_context(Link.connect(mqtt.config, "commander"))
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
