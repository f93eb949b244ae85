"""Whatever bytes come: a request or BadDecodingError, within 50 ms of processor time and 10 MB."""

import gc
import time
import tracemalloc
from typing import Any, get_type_hints

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.northbound.opcua.config import OpcuaLimits
from bridge.northbound.opcua.stack import decoding
from bridge.northbound.opcua.stack.processor import ELEMENTS_PER_OPERATION

CPU_S, MEMORY = 0.05, 10 * 2**20
ELEMENTS = ELEMENTS_PER_OPERATION * OpcuaLimits().operations
REQUESTS = sorted(
    (
        one
        for one in vars(ua).values()
        if isinstance(one, type) and "RequestHeader" in getattr(one, "__dataclass_fields__", ())
    ),
    key=lambda one: one.__name__,
)
INSIDE = (
    ua.WriteValue(ua.NodeId("a.b", 2), ua.AttributeIds.Value, "1:2", ua.DataValue(ua.Variant([1.0, 2.0]))),
    ua.MonitoredItemCreateRequest(
        ua.ReadValueId(ua.NodeId("a.b", 2)),
        RequestedParameters=ua.MonitoringParameters(Filter=ua.DataChangeFilter(DeadbandValue=1.0)),
    ),
    ua.CallMethodRequest(ua.NodeId(1), ua.NodeId(2), [ua.Variant("text"), ua.Variant([ua.Variant(1)])]),
    ua.BrowsePath(ua.NodeId(1), ua.RelativePath([ua.RelativePathElement(TargetName=ua.QualifiedName("x", 2))])),
)


@pytest.fixture(autouse=True, scope="module")
def bounds() -> None:
    decoding.install()


def filled(kind: type) -> Any:
    """A request with something in each list for which there is something above."""
    request = kind()
    parameters = getattr(request, "Parameters", request)
    for field, hint in get_type_hints(type(parameters), None, {"ua": ua}).items():
        for one in INSIDE:
            if type(one).__name__ in str(hint) and str(hint).startswith("list"):
                setattr(parameters, field, [one, one])
    return request


def outcome(kind: type, data: bytes) -> str:
    """How decoding ends; measured. A budget as every request of a server has it."""
    token = decoding.BUDGET.set(decoding.Budget(ELEMENTS))
    try:
        decoding.decode(kind, Buffer(data))
    except ServiceError as error:
        assert error.code == ua.StatusCodes.BadDecodingError
        return "refused"
    finally:
        decoding.BUDGET.reset(token)
    return "taken"


def cost(kind: type, data: bytes) -> float:
    """Processor seconds, the least of three: another process's work is not the decoder's."""
    gc.collect(0)
    spent = []
    for _ in range(3):
        before = time.thread_time()
        outcome(kind, data)
        spent.append(time.thread_time() - before)
        if spent[-1] < CPU_S:
            break
    return min(spent)


def memory(kind: type, data: bytes) -> int:
    tracemalloc.start()
    try:
        outcome(kind, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=12)
lengths = st.sampled_from([-1, -2, -4, 2**31 - 1, -(2**31), 65_536, 10_001, 20_001])


def mangled(data: bytes, at: list[tuple[int, int]], length: int | None, tail: bytes) -> bytes:
    body = bytearray(data + tail)
    for place, byte in at:
        body[place % len(body)] = byte
    if length is not None and at:
        place = at[0][0] % max(1, len(body) - 3)
        body[place : place + 4] = length.to_bytes(4, "little", signed=True)
    return bytes(body)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=changes, length=st.none() | lengths, tail=st.binary(max_size=300))
@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_mangled_request_is_taken_or_refused_cheaply(
    kind: type, at: list[tuple[int, int]], length: int | None, tail: bytes
) -> None:
    data = mangled(struct_to_binary(filled(kind)), at, length, tail)
    assert cost(kind, data) < CPU_S


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little", signed=True) for value in values)


def written(variant: bytes) -> tuple[type, bytes]:
    """NodesToWrite with one Value whose Variant is these bytes."""
    target = nodeid_to_binary(ua.NodeId("a.b", 2)) + numbers(ua.AttributeIds.Value, -1)
    return ua.WriteParameters, numbers(1) + target + b"\x01" + variant


NULLS = b"\x00" * 400_000
TEXTS = b"\x8c" + numbers(5000) + numbers(-1) * 5000
WORST = {
    "a list of two billion": (ua.CallParameters, numbers(2**31 - 1) + NULLS),
    "many small arguments": (ua.CallParameters, numbers(50) + (b"\x00" * 4 + numbers(5000) + b"\x00" * 5000) * 50),
    "an array of nothing": written(b"\x80" + numbers(2**31 - 1)),
    "an array in an array": written(b"\x98" + numbers(3000) + b"\x98" + numbers(2990) + NULLS),
    "dimensions": written(b"\xc6" + numbers(1, 5, 2, 999_999, 1)),
    "variants in variants": written(b"\x18" * 100_000),
    "texts of no length": written(TEXTS),
    "diagnostics in diagnostics": (ua.DiagnosticInfo, b"\x40" * 100_000),
    "extension objects in each other": written(b"\x16" + (b"\x01\x00\x00\x00\x01" + numbers(-1)) * 20_000),
    "numbers": (ua.DeleteSubscriptionsParameters, numbers(100_000) + NULLS),
}


@pytest.mark.parametrize("name", WORST)
def test_worst_requests_cost_little(name: str) -> None:
    kind, data = WORST[name]
    assert cost(kind, data) < CPU_S
    assert memory(kind, data) < MEMORY


def test_budget_is_for_all_lists_of_a_request_and_only_where_there_is_one() -> None:
    kind, data = written(b"\x98" + numbers(3) + TEXTS * 3)
    assert outcome(kind, data) == "refused"
    assert len(decoding.decode(kind, Buffer(data)).NodesToWrite[0].Value.Value.Value) == 3
    assert outcome(*written(TEXTS)) == "taken"


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_proper_request_is_taken(kind: type) -> None:
    assert outcome(kind, struct_to_binary(filled(kind))) == "taken"
