"""A link that is not up yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.transport.mqtt import Link
    from bridge.transport.mqtt_version import Spoken


class Connecting:
    """The same session in one version of MQTT after another."""

    def __init__(self, links: Sequence[Link], where: str, spoken: Spoken | None) -> None:
        self._links = links
        self._where = where
        self._spoken = spoken
        self._link = links[0]

    async def __aenter__(self) -> Link:
        for link in self._links:
            self._link = link
            try:
                await link.__aenter__()
            except LinkError:
                if link is self._links[-1] or not link.is_misunderstood:
                    raise
            else:
                break
        if self._spoken is not None:
            if len(self._links) > 1:
                self._spoken.now(self._where, self._link.protocol)
            self._spoken.without(self._where, self._link.lacks)
        return self._link

    async def __aexit__(self, *exception: object) -> None:
        await self._link.__aexit__(*exception)

    @property
    def may_have_begun(self) -> bool:
        """CONNECT was sent and not refused: the broker holds, or held, a session of ours with its will."""
        return any(link.may_have_begun for link in self._links)
