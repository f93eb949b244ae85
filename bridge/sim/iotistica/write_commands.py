"""Device writes by MQTT, as the agent takes them: checked, remembered for 300 s, done one after another.

    payload -> parse -> remembered? -> in time? -> room? -> queue -> in time still? -> device -> result

Silence where no commandId can be read, for a retained message, and for a repeat while the first is on its way.
Source: facts 1.13; tests/recorded/iotistica/commands.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from bridge.sim.iotistica.answers import iso
from bridge.sim.iotistica.plant import Agent, Device, Point

MAX_PAYLOAD = 64 * 1024
MAX_AGE_S, WRITE_TIMEOUT_S, DRIVER_TIMEOUT_S, REMEMBERED_S = 30.0, 5.0, 2.0, 300.0
QUEUE, REMEMBERED = 1000, 10_000
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")
_REQUIRED = ("version", "commandId", "type", "issuedAt", "expiresAt", "deviceUuid", "pointName", "value")


class Rejected(Exception):
    """The command is not carried out; code, sentence, and what becomes of it."""

    def __init__(self, code: str, message: str, status: str = "rejected") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(slots=True)
class Waiting:
    """A command that was taken in."""

    command: dict[str, Any]
    received: float
    ready: float | None = None
    """When its result is there; None until it is begun."""
    fault: Rejected | None = None


class WriteCommands:
    """The commands of one agent; no I/O: `take` what comes in, `due` what goes out.

    Args:
        agent: Whose devices are written.
        queue: Commands that may wait, besides the one that is being done.
    """

    def __init__(self, agent: Agent, queue: int = QUEUE) -> None:
        self.agent = agent
        self._queue_size = queue
        self._queue: deque[Waiting] = deque()
        self._running: Waiting | None = None
        self._remembered: OrderedDict[str, tuple[float, dict[str, Any] | None]] = OrderedDict()

    def take(self, payload: bytes, retained: bool, now: float) -> list[dict[str, Any]]:
        """A message came in. Gives what is answered at once: nothing, or one result."""
        self._forget(now)
        if retained:
            return []
        try:
            command = parsed(payload)
        except Rejected as fault:
            command_id = _command_id(payload)
            return [] if command_id is None else [self._result(command_id, fault, None, now, now)]
        known = self._remembered.get(command["commandId"])
        if known is not None:
            return [] if known[1] is None else [known[1]]
        try:
            _check_time(command, now)
            if len(self._queue) >= self._queue_size:
                raise Rejected("COMMAND_QUEUE_FULL", f"Command queue is full (max {self._queue_size})")
        except Rejected as fault:
            return [self._result(command["commandId"], fault, command, now, now)]
        self._remember(command["commandId"], None, now)
        self._queue.append(Waiting(command, now))
        return []

    def due(self, now: float) -> list[dict[str, Any]]:
        """The results that are there by now, in order."""
        results: list[dict[str, Any]] = []
        while True:
            if self._running is None:
                if not self._queue:
                    return results
                self._running = self._queue.popleft()
                self._begin(self._running, max(self._running.received, now))
            running = self._running
            if running.ready is None or running.ready > now:
                return results
            command = running.command
            results.append(self._result(command["commandId"], running.fault, command, running.received, running.ready))
            self._running = None

    def _begin(self, waiting: Waiting, now: float) -> None:
        try:
            _check_time(waiting.command, now)
            self._write(waiting.command, now)
            waiting.ready = now
        except Rejected as fault:
            waiting.fault = fault
            waiting.ready = now + _takes(fault)
            if fault.code != "COMMAND_EXPIRED":  # that was refused late is failed, too old among it
                fault.status = "failed"

    def _write(self, command: dict[str, Any], now: float) -> None:
        device = self.agent.device(command["deviceUuid"])
        if device is None:
            raise Rejected("NODE_NOT_ALLOWED", f"Device not found: {command['deviceUuid']}")
        point = device.point(command["pointName"])
        if point is None:
            raise Rejected("NODE_NOT_ALLOWED", f"Register not found: {command['pointName']}")
        if not point.writable:
            raise Rejected("NODE_NOT_ALLOWED", f"Register is not writable via commands: {point.name}")
        if device.is_lost(now):
            raise Rejected("DEVICE_NOT_CONNECTED", f"Device {device.name} is not connected")
        value = _converted(point, command["value"])
        self._carry_out(device, point, value, now)

    def _carry_out(self, device: Device, point: Point, value: float | bool | str, now: float) -> None:
        match device.write_mode:
            case "reject":
                raise Rejected("WRITE_REJECTED", "Modbus exception 2: Illegal data address")
            case "hang":
                # It was sent; whether the device took it nobody knows. Here it did not.
                message = "Write timed out after 5000ms — final device state is unknown"
                raise Rejected("WRITE_TIMEOUT", message)
            case "driver-timeout":
                point.written.append((now, value))  # the device took it, only its answer was late
                raise Rejected("WRITE_REJECTED", f"Operation 'write register {point.name}' timed out after 2000ms")
        point.written.append((now, value))

    def _result(
        self, command_id: str, fault: Rejected | None, command: dict[str, Any] | None, received: float, completed: float
    ) -> dict[str, Any]:
        result: dict[str, Any] = {
            "version": 1, "commandId": command_id, "type": "device.write.result",
            "status": "succeeded" if fault is None else fault.status,
        }  # fmt: skip
        if command is not None:
            result |= {
                "deviceUuid": command["deviceUuid"], "pointName": command["pointName"],
                "requestedValue": command["value"],
            }  # fmt: skip
        result |= {"receivedAt": iso(received), "completedAt": iso(completed)}
        if fault is not None:
            result["error"] = {"code": fault.code, "message": fault.message}
        self._remember(command_id, result, completed)
        return result

    def _remember(self, command_id: str, result: dict[str, Any] | None, now: float) -> None:
        if len(self._remembered) >= REMEMBERED and command_id not in self._remembered:
            self._remembered.popitem(last=False)
        self._remembered[command_id] = (now + REMEMBERED_S, result)

    def _forget(self, now: float) -> None:
        for command_id in [key for key, (until, _) in self._remembered.items() if until < now]:
            del self._remembered[command_id]


def parsed(payload: bytes) -> dict[str, Any]:
    """A command that fits the schema. Raises Rejected."""
    if len(payload) > MAX_PAYLOAD:
        raise Rejected("PAYLOAD_TOO_LARGE", f"Command payload exceeds {MAX_PAYLOAD} bytes")
    try:
        command = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise Rejected("INVALID_JSON", f"Command payload is not valid JSON: {error}") from None
    if isinstance(command, dict):
        if command.get("version", 1) != 1:
            raise Rejected("UNSUPPORTED_VERSION", f"Unsupported command version: {command['version']}")
        if command.get("type", "device.write") != "device.write":
            raise Rejected("UNSUPPORTED_COMMAND_TYPE", f"Unsupported command type: {command['type']}")
    faults = list(_schema_faults(command))
    if faults:
        raise Rejected("INVALID_SCHEMA", f"Command failed schema validation: {'; '.join(faults)}")
    return dict(command)


def _schema_faults(command: Any) -> list[str]:
    if not isinstance(command, dict):
        return [": Expected object"]
    faults = [f"{name}: Required" for name in _REQUIRED if name not in command and name != "value"]
    for name, longest in (("commandId", 128), ("deviceUuid", 256), ("pointName", 256)):
        word = command.get(name)
        if isinstance(word, str) and len(word) > longest:
            faults.append(f"{name}: String must contain at most {longest} character(s)")
        elif name in command and (not isinstance(word, str) or not word):
            faults.append(f"{name}: String must contain at least 1 character(s)")
    faults += [
        f"{name}: Invalid datetime"
        for name in ("issuedAt", "expiresAt")
        if name in command and (not isinstance(command[name], str) or not _MOMENT.fullmatch(command[name]))
    ]
    value = command.get("value")
    if not isinstance(value, bool | int | float | str) or (isinstance(value, str) and len(value) > 4096):
        faults.append("value: Invalid input")
    return faults


def _check_time(command: dict[str, Any], now: float) -> None:
    issued, expires = (datetime.fromisoformat(command[name]).timestamp() for name in ("issuedAt", "expiresAt"))
    if now > expires:
        raise Rejected("COMMAND_EXPIRED", f"Command expired at {command['expiresAt']}", "expired")
    if now - issued > MAX_AGE_S:
        message = f"Command issued {now - issued:.1f}s ago exceeds maximum age of {MAX_AGE_S:.0f}s"
        raise Rejected("COMMAND_TOO_OLD", message, "expired")


def _converted(point: Point, value: float | bool | str) -> float | bool | str:
    if point.kind in ("string", "bool"):
        return value
    if isinstance(value, bool):
        raise Rejected("WRITE_REJECTED", f"Value for register {point.name} must be numeric")
    try:
        number = float(value)
    except ValueError:
        message = f"Value for register {point.name} is not a valid number: {value}"
        raise Rejected("WRITE_REJECTED", message) from None
    if point.kind == "int" and not 0 <= number <= 65535:
        raise Rejected("WRITE_REJECTED", f"Value for register {point.name} out of range (0 to 65535)")
    return round(number) if point.kind == "int" else number


def _takes(fault: Rejected) -> float:
    if fault.code == "WRITE_TIMEOUT":
        return WRITE_TIMEOUT_S
    return DRIVER_TIMEOUT_S if "timed out" in fault.message else 0.0


def _command_id(payload: bytes) -> str | None:
    try:
        command = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    found = command.get("commandId") if isinstance(command, dict) else None
    return found if isinstance(found, str) else None
