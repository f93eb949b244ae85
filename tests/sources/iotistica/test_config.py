from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.sources.iotistica.config import IotisticaConfig, IotisticaMachine

AGENT = "d9069bba-f80e-424a-9c4c-583ea4deb9a4"
OTHER = "00000000-0000-4000-8000-000000000001"
MQTT: dict[str, Any] = {"broker": {"host": "broker.example"}}
REST: dict[str, Any] = {"url": "https://cloud.example", "username": "me", "password": "tell-nobody"}


def config(**said: Any) -> IotisticaConfig:
    return IotisticaConfig.model_validate({"type": "iotistica", **said})


def test_one_way_is_enough() -> None:
    assert config(mqtt=MQTT).rest is None
    assert config(rest=REST).mqtt is None


def test_the_api_is_completed_and_no_secret_is_shown() -> None:
    known = config(rest=REST, mqtt={"broker": {"username": "u", "password": "tell-nobody"}})
    assert known.rest is not None
    assert known.rest.url == "https://cloud.example/api/v1"
    assert "tell-nobody" not in repr(known)
    assert known.part_of_limit == ("this address at cloud.example", 0.5)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "nothing would be read"),
        ({"mqtt": MQTT, "websocket": True}, "needs rest"),
        ({"mqtt": {**MQTT, "vendor_topics": False}}, "nothing would be heard"),
        ({"mqtt": MQTT, "tenant": "a/b"}, "not a tenant"),
        ({"mqtt": MQTT, "agents": ["x"]}, "not a UUID"),
        ({"mqtt": MQTT, "allow": ["["]}, "not a regular expression"),
        ({"rest": {**REST, "url": "https://u:p@cloud.example"}}, "username and password"),
        ({"rest": {**REST, "url": "cloud.example"}}, "not an address"),
        ({"mqtt": {**MQTT, "destinations": [{"topic": "a/#/b", "agent": AGENT}]}}, "not a topic filter"),
        ({"mqtt": {**MQTT, "destinations": [{"topic": "a+/b", "agent": AGENT}]}}, "not a topic filter"),
        ({"mqtt": {**MQTT, "destinations": [{"topic": "$SYS/#", "agent": AGENT}]}}, "the broker's own"),
        (
            {"mqtt": {**MQTT, "destinations": [{"topic": "a", "agent": AGENT}, {"topic": "a", "agent": OTHER}]}},
            "written twice",
        ),
    ],
)
def test_what_cannot_work_is_told(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        config(**said)


def test_an_agent_is_known_in_lower_case() -> None:
    machine = IotisticaMachine(agent=AGENT.upper())
    assert machine.key() == AGENT
    assert machine.identity() == {"vendor": "iotistica", "agent": AGENT, "serial": AGENT}


def test_a_named_agent_that_would_not_be_read_is_a_fault() -> None:
    some = config(mqtt=MQTT, agents=[OTHER])
    (fault,) = some.faults({AGENT: {}, OTHER: {}}, None)
    assert (fault.machine, fault.key) == (AGENT, ("agent",))
    assert list(config(mqtt=MQTT).faults({AGENT: {}}, None)) == []


def test_a_mapping_can_ask_for_what_the_cloud_tells() -> None:
    assert config(mqtt=MQTT).hints() == {"vendor": "iotistica"}
    assert config(mqtt=MQTT, rest=REST).hints() == {"vendor": "iotistica", "cloud": "rest"}
