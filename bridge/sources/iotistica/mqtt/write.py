"""Write: a value for a point of a device, as an agent takes it. Pure. Source: facts 1.13."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.model.action import Action
    from bridge.sources.iotistica.mqtt.state import State

DEVICE_WRITE: Final = "device_write"
"""The key of such a payload."""
LONGEST_NAME: Final = 256
LONGEST_TEXT: Final = 4096
LONGEST_ID: Final = 128
"""Characters that an agent takes."""
EXACT: Final = 2**53
"""JavaScript, in which agents are written, has no exact whole numbers beyond."""


class NotWritable(Exception):
    """Why it must not be sent; for a person."""


@dataclass(frozen=True, slots=True)
class Write:
    """What is to be written."""

    device: str
    """UUID of the row in the agent's devices, or the name of an endpoint."""
    point: str
    value: bool | int | float | str

    @classmethod
    def of(cls, action: Action) -> Write:
        """From {"device_write": {device, point, value}}. Raises NotWritable."""
        payload = action.payload
        told = payload.get(DEVICE_WRITE) if isinstance(payload, dict) else None
        if not isinstance(told, dict) or len(payload) != 1 or set(told) != {"device", "point", "value"}:
            raise NotWritable("It is not {device_write: {device, point, value}}")
        for name in ("device", "point"):
            text = told[name]
            if not isinstance(text, str) or not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
                raise NotWritable(f"Its {name} is not a text of 1 to {LONGEST_NAME} characters")
        return cls(told["device"], told["point"], _value(told["value"]))

    def message(self, identifier: str, device: str, issued: datetime, expires: datetime) -> bytes:
        """As it is published."""
        return orjson.dumps(
            {
                "version": 1,
                "commandId": identifier,
                "type": "device.write",
                "issuedAt": iso(issued),
                "expiresAt": iso(expires),
                "deviceUuid": device,
                "pointName": self.point,
                "value": self.value,
            }
        )


def device_of(write: Write, state: State | None) -> str:
    """The device as the agent's commands know it.

    A reading's device_uuid is the endpoint's where the protocol has none of its own; commands want the one of the row
    in `devices` (recorded/iotistica). Where that is not told, or not told by this, it goes on as it was given.
    """
    rows = (state.devices if state is not None else None) or []
    if any(row["device_uuid"] == write.device for row in rows):
        return write.device
    for name in ("endpoint_uuid", "name"):
        found = [row["device_uuid"] for row in rows if row[name] == write.device and row["device_uuid"]]
        if len(found) == 1:
            return str(found[0])
    return write.device


def command_id(identifier: str) -> str:
    """The command's own id, or where that is too long for an agent, one that stands for it."""
    if len(identifier) <= LONGEST_ID:
        return identifier
    return f"{identifier[:60]}:{hashlib.sha256(identifier.encode()).hexdigest()}"


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, in milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: Any) -> bool | int | float | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) > EXACT:
        raise NotWritable(f"The agent cannot hold {value} exactly")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotWritable("Its value is not a finite number")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise NotWritable(f"Its value is longer than {LONGEST_TEXT} characters")
    if not isinstance(value, int | float | str):
        raise NotWritable("Its value is neither a number nor true or false nor a text")
    return value
