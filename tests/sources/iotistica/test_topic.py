from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sources.iotistica.mqtt.topic import (
    Place,
    Topics,
    agent_level,
    agent_of,
    command_topic,
    result_agent,
    tenant_level,
)

AGENT = "d9069bba-f80e-424a-9c4c-583ea4deb9a4"
LEVEL = "2QabuvgOQkqcTFg-pN65pA"  # seen on the wire: facts 1.11


def test_an_agents_level_is_what_was_seen_on_the_wire() -> None:
    assert agent_level(AGENT) == LEVEL
    assert agent_of(LEVEL) == AGENT


@pytest.mark.parametrize(
    ("tenant", "level"),
    [
        ("73eddd385ce8", "c-3dOFzo"),
        ("73EDDD385CE8", "c-3dOFzo"),
        (AGENT, LEVEL),
        ("self-hosted", "self-hosted"),
        ("eightchr", "eightchr"),
        ("73eddd385ce", "73eddd385ce"),
    ],
)
def test_only_an_id_is_shortened_in_a_tenants_level(tenant: str, level: str) -> None:
    assert tenant_level(tenant) == level


@given(st.uuids())
def test_every_agent_comes_back(agent: UUID) -> None:
    level = agent_level(str(agent))
    assert (len(level), agent_of(level)) == (22, str(agent))


@given(st.text(max_size=40))
def test_any_level_is_an_agent_or_none(level: str) -> None:
    agent = agent_of(level)
    assert agent is None or agent_level(agent) == level or agent == level.lower()


def test_a_second_spelling_of_the_same_bytes_is_no_agent() -> None:
    assert agent_of(LEVEL[:-1] + "B") is None


def test_topics_of_other_tenants_and_other_things_are_nobodys() -> None:
    topics = Topics("self-hosted")
    assert topics.place(f"i/self-hosted/a/{LEVEL}/endpoints/line1/a") == Place(AGENT, "endpoints/line1/a")
    assert topics.place(f"i/self-hosted/a/{AGENT.upper()}/state") == Place(AGENT, "state")
    for topic in (f"i/other/a/{LEVEL}/state", "i/self-hosted/a/nobody/state", f"i/self-hosted/a/{LEVEL}", "x"):
        assert topics.place(topic) is None
    assert "i/self-hosted/a/+/endpoints/#" in topics.filters
    assert topics.acl == "i/self-hosted/a/+/#"


def test_answers_come_below_the_whole_uuid() -> None:
    assert command_topic(AGENT) == f"{AGENT}/cmd/write"
    assert result_agent(f"{AGENT}/cmd/result") == AGENT
    assert result_agent(f"{AGENT}/cmd/write") is None
    assert result_agent("somebody/cmd/result") is None
