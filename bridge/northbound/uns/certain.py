"""What must be certain before anything else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import LinkLost

if TYPE_CHECKING:
    from bridge.transport.mqtt import Link

FLUSH_TIMEOUT_S = 10.0
"""How long a broker may keep silent while it owes acknowledgements."""


async def flushed(link: Link) -> None:
    """Everything that was published before is acknowledged. Raises LinkLost."""
    if not await link.flush(FLUSH_TIMEOUT_S, patient=True):
        raise LinkLost(f"no acknowledgement within {FLUSH_TIMEOUT_S:.0f} s")
