"""Sessions end when the certificate they came with is not trusted any more: rejected, revoked or ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asyncua import ua
from cryptography import x509

from bridge.northbound.opcua.certificates import common_name, thumbprint
from bridge.northbound.opcua.trust import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.northbound.opcua.stack.engine import Engine
    from bridge.northbound.opcua.trust import TrustStore
    from bridge.ports import Clock

_log = logging.getLogger(__name__)

EVERY_S = 1.0
AGAIN_S = 60.0
"""Certificates and revocation lists end without a change of any file."""


class TrustWatch:
    """Looks every second whether another file decides than before, and then, and every minute, at every session."""

    def __init__(self, trust: TrustStore, clock: Clock) -> None:
        self._trust = trust
        self._clock = clock
        self._is_blind = False

    async def run(self, engine: Engine, in_worker: Callable[..., Awaitable[object]]) -> None:
        """Until cancelled. `in_worker` calls a function with arguments in a thread."""
        before: object = None
        while True:
            before = await self._look(engine, in_worker, before)
            await self._clock.sleep(EVERY_S)

    async def _look(self, engine: Engine, in_worker: Callable[..., Awaitable[object]], before: object) -> object:
        """What decides now. A disk that fails for a moment ends neither sessions nor the server."""
        try:
            now = await in_worker(self._trust.stamp), self._clock.monotonic() // AGAIN_S
            if now != before:
                await self._look_at_all(engine, in_worker)
        except OSError as error:
            if not self._is_blind:
                _log.error("Whom the OPC UA server trusts cannot be read, what was read before counts: %s", error)
            self._is_blind = True
            return before
        self._is_blind = False
        return now

    async def _look_at_all(self, engine: Engine, in_worker: Callable[..., Awaitable[object]]) -> None:
        for der in engine.client_certificates():
            try:
                await in_worker(self._trust.check_again, der)
            except Refused as refused:
                for peer in await engine.cut_off(der, getattr(ua.StatusCodes, refused.status), str(refused)):
                    self._tell(der, peer, refused)

    def _tell(self, der: bytes, peer: str, refused: Refused) -> None:
        certificate = x509.load_der_x509_certificate(der)
        _log.warning(
            "Cut off the OPC UA client %s of %s, certificate %s: %s: %s",
            common_name(certificate),
            peer,
            thumbprint(certificate),
            refused.status,
            refused,
        )
