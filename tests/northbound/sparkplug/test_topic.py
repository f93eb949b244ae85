"""Topics and ids."""

from __future__ import annotations

import pytest

from bridge.northbound.sparkplug.topic import NAMESPACE, EdgeNode, MessageType, id_fault, metric_fault

NODE = EdgeNode("acme:essen", "bridge-1")


def test_topic_structure_namespace_a() -> None:
    assert NAMESPACE == "spBv1.0"


@pytest.mark.parametrize("kind", list(MessageType))
def test_topic_structure_has_a_device_for_d_messages_only(kind: MessageType) -> None:
    """tck-id-topic-structure-namespace-device-id-(non-)associated-message-types"""
    device = "extruder-1" if kind.startswith("D") else None
    topic = NODE.topic(kind, device)
    assert topic == f"spBv1.0/acme:essen/{kind}/bridge-1" + ("/extruder-1" if device else "")
    assert NODE.read(topic) == (kind, device)
    with pytest.raises(ValueError, match="device id"):
        NODE.topic(kind, None if device else "extruder-1")


@pytest.mark.parametrize(
    "topic",
    [
        "spBv1.0/acme:essen/NCMD/bridge-2",
        "spBv1.0/other/NCMD/bridge-1",
        "spAv1.0/acme:essen/NCMD/bridge-1",
        "spBv1.0/acme:essen/NCMD/bridge-1/extruder-1",
        "spBv1.0/acme:essen/DCMD/bridge-1",
        "spBv1.0/acme:essen/NOTHING/bridge-1",
        "spBv1.0/STATE/host",
        "",
    ],
)
def test_topic_of_somebody_else_is_not_read(topic: str) -> None:
    assert NODE.read(topic) is None


def test_commands_of_later_devices_are_subscribed_too() -> None:
    assert NODE.subscriptions == ("spBv1.0/acme:essen/NCMD/bridge-1", "spBv1.0/acme:essen/DCMD/bridge-1/+")


@pytest.mark.parametrize("what", ["group id", "edge node id", "device id"])
@pytest.mark.parametrize("wrong", ["", "a+b", "a/b", "a#b", "a\0b", "\ud800"])
def test_ids_have_no_forbidden_characters(what: str, wrong: str) -> None:
    """tck-id-intro-group-id-chars, -edge-node-id-chars, -device-id-chars"""
    fault = id_fault(what, wrong)
    assert fault is not None
    assert what in fault


def test_ids_may_hold_what_is_not_forbidden() -> None:
    assert id_fault("group id", "Plant 1:Area.3") is None
    assert id_fault("device id", "STATE") is None


def test_group_called_state_is_refused() -> None:
    assert id_fault("group id", "STATE") is not None


@pytest.mark.parametrize("wrong", ["", "a//b", "/a", "a.b", "a$", "Front?", "(a)", "-a", "a/-b"])
def test_metric_names_hosts_refuse(wrong: str) -> None:
    assert metric_fault(wrong) is not None


@pytest.mark.parametrize("fine", ["Monitoring/Temperature/Front", "Node Control/Rebirth", "_x", "a-b", "Größe"])
def test_metric_names_hosts_take(fine: str) -> None:
    assert metric_fault(fine) is None
