"""Read by plan answers what Read by asyncua's decoder and encoder answers."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.ua_binary import struct_to_binary

from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.northbound.opcua.stack import reads
from bridge.northbound.opcua.stack.session import GuardedSession
from tests.northbound.opcua.house import House, Raw, house, identity, raw, secure_client
from tests.one_of_everything import NOW, machine

pytestmark = pytest.mark.asyncio(loop_scope="module")

A = ua.AttributeIds


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True, limits={"retired_tags": 0}) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def client(home: House) -> AsyncIterator[Raw]:
    async with raw(home.port) as client:
        await client.open()
        await client.session()
        yield client


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[GuardedSession]:
    """The sessions that a plan was used for."""
    used: list[GuardedSession] = []
    results = reads.Plan.results

    async def noted(self: reads.Plan, session: GuardedSession) -> list[bytes]:
        used.append(session)
        return await results(self, session)

    monkeypatch.setattr(reads.Plan, "results", noted)
    return used


def request(nodes: list[ua.ReadValueId], times: int = 2, max_age: float = 0) -> ua.ReadRequest:
    return ua.ReadRequest(Parameters=ua.ReadParameters(max_age, ua.TimestampsToReturn(times), nodes))


def value_of(name: str, attribute: int = A.Value, part: str | None = None) -> ua.ReadValueId:
    return ua.ReadValueId(ua.NodeId(name, 2), attribute, part)


def everything(home: House) -> list[ua.ReadValueId]:
    tags = [tag.id for one in home.table.plant.everything() for tag in one.tags]
    mixed = [value_of(name, attribute) for name in tags[:5] for attribute in (1, 3, 4, 14, 17, 18)]
    strange = [value_of("nothing"), value_of(tags[0], A.Executable), value_of(tags[0], A.Value, "1:2")]
    encoded = [replace(value_of(tags[1]), DataEncoding=ua.QualifiedName("Default Binary"))]
    standard = [ua.ReadValueId(ua.NodeId(one), A.Value) for one in (2255, 2267, 11702)]  # arrays, and limits
    return [*(value_of(name) for name in tags), *mixed, *strange, *encoded, *standard]


@pytest.mark.parametrize("times", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
async def test_answer_is_that_of_asyncua(
    home: House, client: Raw, engines: list[GuardedSession], seed: int, times: int
) -> None:
    nodes = everything(home)
    chance = random.Random(seed)
    chosen = chance.sample(nodes, chance.randrange(1, len(nodes)))
    for _ in range(2):  # the second time by the plan that is kept
        response = await client.ask(request(chosen, times))
        assert response.ResponseHeader.ServiceResult.is_good()
        theirs = await engines[-1].read(ua.ReadParameters(0, ua.TimestampsToReturn(times), chosen))
        for asked, ours, other in zip(chosen, response.Results, theirs, strict=True):
            assert _comparable(ours) == _comparable(other), asked
            if asked.AttributeId == A.Value and isinstance(asked.NodeId.Identifier, str) and ours.SourceTimestamp:
                assert times in (0, 2)
    assert len(engines) == 2


def _comparable(value: ua.DataValue) -> Any:
    return struct_to_binary(ua.DataValue(value.Value, value.StatusCode))


async def test_a_plan_gives_the_value_of_now(home: House, client: Raw, engines: list[GuardedSession]) -> None:
    tag = home.tag("Monitoring/Pressure")
    for number in range(5):
        moment = NOW + timedelta(days=1000, seconds=number)
        home.table.update([(tag.slot, DataValue(float(number), StatusCode.Good, moment, moment))])
        async with asyncio.timeout(30):
            while True:
                (result,) = (await client.ask(request([value_of(tag.id)]))).Results
                if result.SourceTimestamp == moment:
                    break
        assert (result.Value.Value, result.ServerTimestamp) == (float(number), moment)
    assert len(engines) >= 5


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request([]), "BadNothingToDo"),
        (request([value_of("x")] * 1001), "BadTooManyOperations"),
    ],
    ids=["nothing", "too much"],
)
async def test_what_is_wrong_is_said_by_asyncua(
    client: Raw, engines: list[GuardedSession], asked: ua.ReadRequest, expected: str
) -> None:
    assert await client.status(asked) == expected
    assert not engines


async def test_a_request_that_cannot_be_decoded_is_answered_and_harms_nobody(
    client: Raw, engines: list[GuardedSession]
) -> None:
    good = struct_to_binary(request([value_of("x")]).Parameters)
    for length in range(0, len(good), 3):
        assert await client.status(ua.ReadRequest(), good[:length]) != "Good"
    assert not engines
    assert await client.status(request([value_of("x")])) == "Good"


async def test_before_the_login_no_plan_is_used(home: House, engines: list[GuardedSession]) -> None:
    async with raw(home.port) as stranger:
        await stranger.open()
        create = ua.CreateSessionRequest()
        create.Parameters.ClientDescription.ApplicationUri = "urn:raw"
        stranger.authentication = (await stranger.ask(create)).Parameters.AuthenticationToken
        answer = await stranger.status(request([value_of("extruder-1.Monitoring.Pressure")]))
        assert answer == "BadUserAccessDenied"
    assert not engines


async def test_the_same_plan_answers_each_user_by_its_role(home: House, engines: list[GuardedSession]) -> None:
    name = "extruder-1.Setpoints.ScrewSpeed"
    asked = [value_of(name), value_of(name, A.UserAccessLevel)]
    who = identity("reader")
    home.trust(who)
    seen = {}
    for user in ("observer", "operator", "observer"):
        client: Client = await secure_client(home, who, user)
        async with client:
            results = await client.uaclient.read(ua.ReadParameters(NodesToRead=asked))
            seen[user] = [one.Value.Value for one in results]
    assert seen == {"observer": [30.0, 1], "operator": [30.0, 3]}
    assert len({id(one) for one in engines}) == 3


async def test_a_node_that_is_taken_out_is_not_read_from_a_plan(home: House, client: Raw) -> None:
    known, laser = dict(home.table.plant.machines), machine(home.slots, "laser-3")
    asked = request([value_of("laser-3.Monitoring.Pressure")])

    async def until(expected: str) -> None:
        async with asyncio.timeout(30):
            while (await client.ask(asked)).Results[0].StatusCode.name != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    for _ in range(2):
        home.table.replace_plant(Plant(home.table.plant.bridge, {**known, "laser-3": laser}))
        await until("BadWaitingForInitialData")
        home.table.replace_plant(Plant(home.table.plant.bridge, known))  # no retired tags are kept here
        await until("BadNodeIdUnknown")


async def test_a_list_of_several_chunks_has_a_plan_too(home: House, client: Raw, engines: list[GuardedSession]) -> None:
    asked = request([value_of("extruder-1.Monitoring.Pressure")] * 900)
    asked.RequestHeader.AuthenticationToken = client.authentication
    whole = struct_to_binary(asked)
    first = client.wrap(whole[:20_000], b"C")
    number = client.sequence
    last = client.wrap(whole[20_000:])
    last = last[:20] + number.to_bytes(4, "little") + last[24:]  # of the same request
    await client.send(first + last)
    response = (await client.receive()).response
    assert len(response.Results) == 900
    assert engines


async def test_plans_take_a_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_SIZE", 5000)
    plans = reads.Plans(AddressSpace(), 1000)
    made = [struct_to_binary(request([value_of(f"tag-{number}")]).Parameters) for number in range(50)]
    for parameters in made:
        assert plans.plan(parameters) is not None
    assert 5 <= len(plans) <= 10
    assert plans.plan(made[-1]) is plans.plan(made[-1])
    plans.forget()
    assert not len(plans)
    for parameters in made:
        plans.plan(parameters)
    assert 5 <= len(plans) <= 10
