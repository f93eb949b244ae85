"""Live values for benchmarks: every number changes in every event, at the price of a few copied bytes.

A frame is packed once; after that only the eight bytes of each float and of `ts` are written.
"""

from __future__ import annotations

import copy
import struct
from typing import Any

from bridge.sim.qitech import packets

_SENTINEL = 1.2345678e300
_TS_SENTINEL = 0x0123456789ABCDEF
_STEP = 1.0 / 1024.0
_WRAP = 1 << 16


class LoadTemplate:
    """One event of one machine, ready to be sent thousands of times."""

    def __init__(self, namespace: str, name: str, data: Any) -> None:
        self._count = 0
        marked = copy.deepcopy(data)
        self.fields = _mark(marked)
        frame = packets.binary_frame(packets.event(namespace, name, marked, _TS_SENTINEL))
        self._frame = bytearray(frame)
        self._struct = struct.Struct(">d")
        self._offsets = [frame.index(self._struct.pack(_SENTINEL * (i + 1))) for i in range(self.fields)]
        self._ts = frame.index(_TS_SENTINEL.to_bytes(8, "big"))

    def frame(self, ts_ms: int) -> bytes:
        """The next event: each number is one step above the last event's, and differs from its neighbours'."""
        self._count = (self._count + 1) % _WRAP
        frame, pack_into, value = self._frame, self._struct.pack_into, self._count * _STEP
        for offset in self._offsets:
            pack_into(frame, offset, value)
            value += 100.0
        frame[self._ts : self._ts + 8] = ts_ms.to_bytes(8, "big")
        return bytes(frame)


def _mark(data: Any) -> int:
    """Replace every float (and null, which stands for one) by a sentinel of its own; how many there were."""
    count = 0
    folders = [data]
    while folders:
        folder = folders.pop()
        for key, value in folder.items() if isinstance(folder, dict) else ():
            if isinstance(value, dict):
                folders.append(value)
            elif value is None or isinstance(value, float):
                count += 1
                folder[key] = _SENTINEL * count
    return count
