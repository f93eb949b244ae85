"""node-opcua, a client that shares no code with the server."""

from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.model.value import DataType, bad, to_milliseconds
from tests.node_peer import node_peer
from tests.northbound.opcua.house import PASSWORD, House, house, identity
from tests.one_of_everything import NOW, VALUES

pytestmark = [pytest.mark.peer("node"), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house() as home:
        home.trust(identity("node"))
        yield home


def plan(home: House, who: str = "node", **wishes: Any) -> dict[str, Any]:
    client = identity(who)
    return {
        "url": home.url,
        "user": "observer",
        "password": PASSWORD,
        "certificate": str(client.certificate_file),
        "key": str(client.key_file),
        "applicationUri": client.uri,
        "store": str(client.folder / "store"),
        **wishes,
    }


async def answer(wanted: dict[str, Any]) -> dict[str, Any]:
    async with node_peer("opcua_client.js", wanted) as peer:
        return await peer.line()


def expected(name: str, data_type: DataType) -> dict[str, Any]:
    value = VALUES[name]
    payload: Any = value.value
    if payload is not None and data_type is DataType.DateTime:
        payload = to_milliseconds(payload)
    if payload is not None and data_type is DataType.Int64:
        payload = str(payload)
    return {
        "value": payload,
        "type": "Null" if value.value is None else data_type.value,
        "status": int(value.status),
        "source": to_milliseconds(value.source_timestamp),
    }


async def test_secured_client_reads_one_of_everything_exactly(home: House) -> None:
    tags = home.table.plant.machines["extruder-1"].tags
    nodes = [home.server.address(tag) for tag in tags]
    found = await answer(plan(home, read=nodes, browse="ns=2;s=extruder-1"))
    assert "error" not in found, found
    assert found["namespaces"][2] == "urn:test:bridge:instances"
    for tag, got in zip(tags, found["values"], strict=True):
        assert got == expected(tag.name, tag.definition.data_type), tag.id
    names = [name for name, _ in found["children"]]
    assert {"3:Monitoring", "3:Setpoints", "4:Identification", "5:MachineryBuildingBlocks"} <= set(names)
    assert ["3:Monitoring", "ns=2;s=extruder-1.Monitoring"] in found["children"]


async def test_subscriber_hears_of_status_changes(home: House) -> None:
    tag = home.tag("Monitoring/Pressure")
    async with node_peer("opcua_client.js", plan(home, subscribe=home.server.address(tag))) as peer:
        assert "namespaces" in await peer.line()
        assert await peer.line() == expected(tag.name, DataType.Double)
        stale = VALUES[tag.name]._replace(status=StatusCode.UncertainLastUsableValue)
        home.table.update([(tag.slot, stale)])
        assert (await peer.line())["status"] == StatusCode.UncertainLastUsableValue
        home.table.update([(tag.slot, bad(StatusCode.BadNoCommunication, "gone", NOW))])
        lost = await peer.line()
        assert (lost["status"], lost["value"], lost["type"]) == (StatusCode.BadNoCommunication, None, "Null")
        home.table.update([(tag.slot, VALUES[tag.name])])
        assert await peer.line() == expected(tag.name, DataType.Double)


async def test_subscriber_gets_one_of_everything_exactly(home: House) -> None:
    tags = {home.server.address(tag): tag for tag in home.table.plant.machines["extruder-1"].tags}
    async with node_peer("opcua_client.js", plan(home, subscribe=list(tags))) as peer:
        assert "namespaces" in await peer.line()
        got = [await peer.line() for _ in tags]
    assert {one["node"] for one in got} == set(tags)
    for one in got:
        tag = tags[one.pop("node")]
        assert one == expected(tag.name, tag.definition.data_type), tag.id


@pytest.mark.parametrize(
    ("who", "wishes", "reason"),
    [
        ("foreigner", {}, "BadCertificateUntrusted"),
        ("node", {"password": "wrong"}, "BadUserAccessDenied"),
        ("node", {"user": None}, "Cannot find ANONYMOUS user token policy"),
        ("node", {"none": True}, "End point must exist"),
        ("node", {"none": True, "user": None}, "End point must exist"),
    ],
    ids=["foreign certificate", "wrong password", "anonymous", "unsecured", "unsecured and anonymous"],
)
async def test_client_that_was_given_nothing_gets_nothing(
    home: House, who: str, wishes: dict[str, Any], reason: str
) -> None:
    found = await answer(plan(home, who, read=["ns=2;s=extruder-1.Monitoring.Pressure"], **wishes))
    assert "values" not in found
    assert reason in found["error"]


async def test_unsecured_endpoint_is_readable_where_it_was_asked_for() -> None:
    async with house(unsecured_read_only=True) as home:
        nodes = ["ns=2;s=extruder-1.Monitoring.Pressure"]
        found = await answer(plan(home, read=nodes, none=True, user=None))
        assert [value["value"] for value in found["values"]] == [12.5]


SPEED, PID = "ns=2;s=extruder-1.Setpoints.ScrewSpeed", "ns=2;s=extruder-1.Commands.SetPid.Front"


async def test_peer_writes_set_points_and_is_answered_per_item(home: House) -> None:
    home.desk.forget()
    home.desk.answers[SPEED[7:]] = Outcome(Result.CHANGED, StatusCode.GoodClamped, "It took 25")
    items = [
        [SPEED, "Float", 30.5],
        [SPEED, "String", "fast"],
        ["ns=2;s=extruder-1.Setpoints.Enabled", "Boolean", False],
        ["ns=2;s=extruder-1.Monitoring.Pressure", "Double", 1.0],
        ["ns=2;s=nothing", "Double", 1.0],
    ]
    found = await answer(plan(home, user="operator", write=[items]))
    assert found["written"] == [["GoodClamped", "GoodClamped", "Good", "BadNotWritable", "BadNodeIdUnknown"]]
    values = [(target.rpartition(".")[2], given["value"]) for target, given in home.desk.asked]
    assert values == [("ScrewSpeed", 30.5), ("ScrewSpeed", "fast"), ("Enabled", False)]


async def test_peer_without_the_role_writes_nothing(home: House) -> None:
    home.desk.forget()
    found = await answer(plan(home, user="observer", write=[[[SPEED, "Double", 1.0]]]))
    assert (found["written"], home.desk.commands) == ([["BadUserAccessDenied"]], [])


async def test_peer_calls_a_method_from_what_it_says_of_itself(home: House) -> None:
    home.desk.forget()
    home.desk.answers[PID[7:]] = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "Not now", vendor_code=409)
    parent, method = "ns=2;s=extruder-1.Commands.SetPid", f"{PID}Call"
    calls = [
        [parent, method, [["Double", 1.5], ["String", "front"]]],
        [parent, method, [["Double", 1.5]]],
        [parent, method, [["String", "much"], ["String", "front"]]],
        ["ns=2;s=extruder-1.Commands", "ns=2;s=extruder-1.Commands.StandbyCall", []],
    ]
    found = await answer(plan(home, user="engineer", call=calls, methods=[method]))
    assert found["methods"] == [[["Kp", "0 to 100", -1], ["Zone", "one of front, back", -1]]]
    first, missing, mismatch, standby = found["called"]
    assert (first["status"], first["outputs"]) == ("BadInvalidState", ["Not now", 409, "refused"])
    assert missing["status"] == "BadArgumentsMissing"
    assert (mismatch["status"], mismatch["inputs"]) == ("BadInvalidArgument", ["BadTypeMismatch", "Good"])
    assert (standby["status"], standby["outputs"]) == ("Good", ["", 0, "confirmed"])


async def test_peer_drives_a_handshake_by_variables_alone(home: House) -> None:
    home.desk.forget()
    start = [
        [f"{PID}.Execute", "Boolean", True],
        [f"{PID}.Args.Zone", "String", "back"],
        [f"{PID}.Args.Kp", "Float", 2.5],
        [f"{PID}.RequestId", "UInt32", 77],
    ]
    requests = [[[f"{PID}.Execute", "Boolean", False]], start, start]
    await answer(plan(home, user="engineer", write=requests))
    assert home.desk.asked == [(PID[7:], {"Kp": 2.5, "Zone": "back"})]
    nodes = [f"{PID}.{name}" for name in ("State", "Done", "AckRequestId", "ErrorCode", "ErrorText")]
    found = await answer(plan(home, read=nodes))
    assert [one["value"] for one in found["values"]] == [2, True, 77, 0, ""]


POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")


async def test_peer_does_the_same_with_each_policy_and_each_login(home: House) -> None:
    home.desk.forget()
    wanted = {
        **plan(home, user="operator"),
        "policies": POLICIES,
        "userCertificate": str(identity("badge").certificate_file),
        "userKey": str(identity("badge").key_file),
        "browse": "i=24",  # BaseDataType, with more subtypes than a portion
        "portion": 7,
        "read": ["ns=2;s=extruder-1.Monitoring.Pressure", "ns=2;s=nothing"],
        "write": [[SPEED, "Double", 30.0], ["ns=2;s=extruder-1.Monitoring.Pressure", "Double", 1.0]],
        "call": ["ns=2;s=extruder-1.Commands", "ns=2;s=extruder-1.Commands.StandbyCall", []],
        "watch": "ns=2;s=extruder-1.Monitoring.Pressure",
        "deadband": 5,
    }
    async with node_peer("opcua_security.js", wanted) as peer:
        found = [await peer.line() for _ in range(7)]
    assert found.pop() == {}, found
    assert [(one["policy"], one["login"]) for one in found] == list(product(POLICIES, ("password", "certificate")))
    for one in found:
        assert [entry for portion in one["portions"] for entry in portion] == one["whole"]
        assert {len(portion) for portion in one["portions"][:-1]} == {7}
        assert one["read"] == [[12.5, "Good"], [None, "BadNodeIdUnknown"]]
        assert one["written"] == ["Good", "BadNotWritable"]
        assert (one["called"], one["seen"]) == ("Good", 12.5)
    assert {command.requester.partition("@")[0] for command in home.desk.commands} == {"operator", "scada"}
