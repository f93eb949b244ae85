"""The doors a command comes in by, each with a client that is not ours, and what each must say of the same truth."""

from __future__ import annotations

import base64
import itertools
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from tests import peers
from tests.broker import Broker
from tests.flow.commanded import ENGINEER, OPERATOR, eventually, node
from tests.flow.lines import LinePeer
from tests.flow.mosquitto import Listener, publish
from tests.flow.opcua_peer import OpcuaPeer

CODES = {
    "Good": 0,
    "GoodClamped": 0x0030_0000,
    "BadTimeout": 0x800A_0000,
    "BadUserAccessDenied": 0x801F_0000,
    "BadNodeIdUnknown": 0x8034_0000,
    "BadNotWritable": 0x803B_0000,
    "BadOutOfRange": 0x803C_0000,
    "BadNotFound": 0x803E_0000,
    "BadNotConnected": 0x808A_0000,
    "BadInvalidArgument": 0x80AB_0000,
    "BadInvalidState": 0x80AF_0000,
}
"""Numbers of OPC UA Part 6, A.2."""

SET_POINT, COMMAND = "Setpoints/ScrewSpeed", "SetPid/Front"
UNS = "acme/essen/a"
ONLINE = "acme/essen/_bridge/bridge-1/online"
SPARKPLUG = "spBv1.0/acme:essen"


@dataclass(frozen=True)
class Truth:
    """How a command ended, for whoever must be told. `words` are somewhere in the sentence."""

    result: str
    code: str
    words: str = ""
    vendor_code: int = 0
    actual: Any = None

    @property
    def is_good(self) -> bool:
        """It had the effect that was asked for, or as much of it as the machine gives."""
        return self.code.startswith("Good")


class Door(ABC):
    """One way in. `ask` waits for the answer in the door's own protocol, `check` compares it with the truth."""

    kind: str
    """What the journal calls it."""
    requester: str
    """Whom the journal names."""

    def target(self, machine: str) -> str:
        """What is commanded."""
        return f"{machine}.{SET_POINT.replace('/', '.')}"

    @abstractmethod
    async def ask(self, machine: str, value: float, point: str = SET_POINT) -> Any:
        """Ask for a value: of a set point, or Kp of the command where the door has none."""

    @abstractmethod
    def check(self, answer: Any, truth: Truth) -> None:
        """Raise AssertionError where the answer does not say the truth."""


class Write(Door):
    """A PLC's Float into an OPC UA variable."""

    kind = "opcua-write"
    requester = f"{OPERATOR}@127.0.0.1"

    def __init__(self, peer: OpcuaPeer) -> None:
        self._peer = peer

    async def ask(self, machine: str, value: float, point: str = SET_POINT) -> Any:
        return await self._peer.write(OPERATOR, (node(f"{machine}.{point.replace('/', '.')}"), "Float", value))

    def check(self, answer: Any, truth: Truth) -> None:
        assert answer == [(truth.code, CODES[truth.code])]


class CommandDoor(Door):
    """A door of commands, not of set points."""

    requester = f"{ENGINEER}@127.0.0.1"

    def __init__(self, peer: OpcuaPeer) -> None:
        self._peer = peer

    def target(self, machine: str) -> str:
        return f"{machine}.Commands.{COMMAND.replace('/', '.')}"


class Method(CommandDoor):
    """An OPC UA method."""

    kind = "opcua-method"

    async def ask(self, machine: str, value: float, point: str = SET_POINT) -> Any:
        target = node(self.target(machine))
        given = [["Float", value], ["Double", 1.0], ["Double", 0.5]]
        return await self._peer.ask(ENGINEER, "call", [target.rpartition(".")[0], f"{target}Call", given])

    def check(self, answer: Any, truth: Truth) -> None:
        assert (answer["status"], answer["code"]) == (truth.code, CODES[truth.code]), answer
        sentence, vendor_code, result = answer["outputs"]
        assert (vendor_code, result) == (truth.vendor_code, truth.result)
        assert truth.words in sentence
        assert bool(sentence) == (truth.code != "Good")


class Handshake(CommandDoor):
    """Variables alone: arguments, Execute, and what the object shows then."""

    kind = "opcua-handshake"
    numbers = itertools.count(1)

    async def ask(self, machine: str, value: float, point: str = SET_POINT) -> Any:
        base, number = node(self.target(machine)), next(self.numbers)
        await self._peer.write(ENGINEER, (f"{base}.Execute", "Boolean", False))
        items = {"Args.Kp": ("Float", value), "Args.Ki": ("Double", 1.0), "Args.Kd": ("Double", 0.5)}
        items |= {"RequestId": ("UInt32", number), "Execute": ("Boolean", True)}
        written = await self._peer.write(ENGINEER, *((f"{base}.{name}", *one) for name, one in items.items()))

        async def over() -> dict[str, Any] | None:
            shown = await handshake(self._peer, self.target(machine))
            return shown if shown["AckRequestId"] == number else None

        return {"written": [name for name, _ in written], **await eventually(over)}

    def check(self, answer: Any, truth: Truth) -> None:
        if truth.result != "rejected":
            assert answer["written"] == ["Good"] * 5
        state = (2, True, False) if truth.is_good else (3, False, True)
        assert (answer["State"], answer["Done"], answer["Error"], answer["Busy"]) == (*state, False), answer
        assert (answer["ErrorCode"], answer["VendorCode"]) == (CODES[truth.code], truth.vendor_code), answer
        assert answer["Results.Result"] == truth.result
        assert truth.words in answer["ErrorText"]
        assert bool(answer["ErrorText"]) == (truth.code != "Good")


HANDSHAKE = (
    *("State", "Done", "Error", "Busy", "AckRequestId", "ErrorCode", "VendorCode", "ErrorText"),
    *("Results.Result", "Results.Actual", "ExecutionCount"),
)


async def handshake(peer: OpcuaPeer, target: str) -> dict[str, Any]:
    """What a handshake object shows."""
    return dict(
        zip(HANDSHAKE, await peer.read(ENGINEER, *(f"{node(target)}.{name}" for name in HANDSHAKE)), strict=True)
    )


async def shows(peer: OpcuaPeer, target: str, **expected: Any) -> dict[str, Any]:
    """What a handshake object shows, once it shows this."""

    async def found() -> dict[str, Any] | None:
        shown = await handshake(peer, target)
        return shown if expected.items() <= shown.items() else None

    shown = await eventually(found)
    assert isinstance(shown, dict)
    return shown


class Dcmd(Door):
    """Sparkplug: sparkplug-payload encodes the DCMD and decodes the DDATA."""

    kind = requester = "sparkplug"

    def __init__(self, broker: Broker, listener: Listener, decoder: LinePeer) -> None:
        self._broker = broker
        self._listener = listener
        self._decoder = decoder

    async def ask(self, machine: str, value: float, point: str = SET_POINT) -> Any:
        since = self._listener.now
        await self.send(machine, {"name": point, "type": "Float", "value": value})
        return await self.answer(machine, since)

    async def send(self, machine: str, *metrics: dict[str, Any], at: float | None = None) -> None:
        """One DCMD, made now or `at` (seconds since 1970)."""
        await publish(self._broker, f"{SPARKPLUG}/DCMD/bridge-1/{machine}", await dcmd(*metrics, at=at))

    async def answer(self, machine: str, since: int, subject: str = "DCMD") -> dict[str, Any]:
        """The first answer in a DDATA, or in a DBIRTH where it came before one: metrics by name."""
        result = f"Commands/{subject}/Result"
        topics = tuple(f"{SPARKPLUG}/{kind}/bridge-1/{machine}" for kind in ("DDATA", "DBIRTH"))
        while True:
            heard = await self._listener.next(topics, since, result.encode())
            decoded = await self._decoder.ask(base64.b64encode(heard.payload).decode())
            metrics = {metric["name"]: metric["value"] for metric in decoded["metrics"]}
            if metrics[result] is not None:
                return metrics
            since = self._listener.heard.index(heard) + 1

    def check(self, answer: Any, truth: Truth) -> None:
        assert answer["Commands/DCMD/Result"] == truth.result, answer
        assert truth.words in answer["Commands/DCMD/Sentence"]


async def dcmd(*metrics: dict[str, Any], at: float | None = None) -> bytes:
    """A DCMD as sparkplug-payload encodes it, made now or `at` (seconds since 1970)."""
    stamp = int((time.time() if at is None else at) * 1000)
    document = {"timestamp": stamp, "metrics": [{**metric, "timestamp": stamp} for metric in metrics]}
    encoded = await peers.run_node("sparkplug_encoder.js", stdin=json.dumps(document).encode() + b"\n")
    return base64.b64decode(encoded)


class Topic(Door):
    """UNS: JSON, and the answer beside the command."""

    kind = "uns"
    requester = "claimed:anna"
    numbers = itertools.count(1)

    def __init__(self, broker: Broker, listener: Listener) -> None:
        self._broker = broker
        self._listener = listener

    async def ask(self, machine: str, value: float, point: str = SET_POINT) -> Any:
        since, number, topic = self._listener.now, f"order-{next(self.numbers)}", f"{UNS}/{machine}/cmd/{point}"
        document = {"value": value, "id": number, "user": "anna"}
        answers, *options = self._wishes(f"{topic}/result", number)
        await publish(self._broker, topic, json.dumps(document).encode(), *options)
        heard = await self._listener.next(answers, since)
        assert (heard.retained, heard.correlation) == (False, self._correlation(number))
        answer = json.loads(heard.payload)
        assert answer["id"] == number
        return answer

    def _wishes(self, beside: str, number: str) -> tuple[str, ...]:
        """Where the answer goes, and how that is asked for."""
        return (beside,)

    def _correlation(self, number: str) -> str:
        return ""

    def check(self, answer: Any, truth: Truth) -> None:
        assert answer["status"] == ("ok" if truth.is_good else "error"), answer
        assert (answer["result"], answer["code"]) == (truth.result, truth.code), answer
        assert answer["vendor_code"] == truth.vendor_code, answer
        nothing_read = truth.result == "unknown" and answer["actual"] is None
        assert nothing_read or answer["actual"] == truth.actual, answer
        assert truth.words in answer["sentence"]


class Response(Topic):
    """UNS with the response topic and correlation data of MQTT 5."""

    def _wishes(self, beside: str, number: str) -> tuple[str, ...]:
        topic = f"answers/{number}"
        properties = (("response-topic", topic), ("correlation-data", f"c-{number}"))
        return (topic, *(word for name, content in properties for word in ("-D", "publish", name, content)))

    def _correlation(self, number: str) -> str:
        return f"c-{number}"
