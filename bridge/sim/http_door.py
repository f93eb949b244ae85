"""One port of a vendor's HTTP interface: journal, fault plan, Date on the vendor's clock.

Front -> body -> journal -> FaultPlan -> the vendor's own code
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from email.utils import format_datetime

from aiohttp import hdrs, web

from bridge.ports import Clock
from bridge.sim.front import Front, Handler, anonymous
from bridge.sim.http_faults import Dropped, FaultPlan
from bridge.sim.request_journal import Request, RequestJournal

Vendor = Callable[[web.Request, bytes], web.Response]
"""Not a coroutine: what it changes, it changes whole."""
Account = Callable[[web.Request], str]


class HttpDoor:
    """A port to be started and stopped.

    Args:
        name: Whose it is, for AddressTaken.
        host: Address to listen on.
        port: 0 takes a free one.
        vendor: The vendor's own code: request and body to answer. Whatever it changes is the commit.
        account: Whose credentials a request carries, as a name that may be shown.
        clock: The vendor's.
        plan: Of faults; several doors may share one.
        journal: Of requests; several doors may share one.
        secret: Paths whose bodies hold credentials: the journal gets none of them.
        streams: What answers paths whose answer does not end at once, past the fault plan; their query is not noted.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        vendor: Vendor,
        *,
        account: Account,
        clock: Clock,
        plan: FaultPlan,
        journal: RequestJournal,
        secret: Collection[str] = (),
        streams: Mapping[str, Handler] | None = None,
    ) -> None:
        self._host = host
        self._vendor = vendor
        self._account = account
        self._clock = clock
        self._plan = plan
        self._journal = journal
        self._secret = frozenset(secret)
        self._streams = dict(streams or {})
        self._front = Front(name, host, port, self._serve, headers=self._headers, forgets=False)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._front.port}"

    async def start(self) -> None:
        """Listen. Raises AddressTaken."""
        await self._front.start()

    async def stop(self) -> None:
        """Free the port."""
        await self._front.stop()

    async def refuse(self) -> None:
        """Drop every connection and refuse new ones."""
        await self._front.refuse()

    async def accept(self) -> None:
        """Accept connections again."""
        await self._front.listen()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        stream = self._streams.get(request.path)
        if stream is not None:
            self._journal.record(Request(request.method, request.path, b"", self._clock.now()))
            return await stream(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413)
        noted = b"" if request.path in self._secret else body
        entry = self._journal.record(
            Request(request.method, request.path_qs, noted, self._clock.now(), self._account(request))
        )
        try:
            answer = await self._plan.answer(request, lambda: self._vendor(request, body))
        except Dropped:
            return web.Response(status=500)  # nobody is there to read it
        self._journal.answered(entry, answer.status)
        return answer

    def _headers(self, response: web.StreamResponse) -> None:
        anonymous(response)
        moment = self._clock.now() + timedelta(seconds=self._plan.date_skew_s)
        response.headers[hdrs.DATE] = format_datetime(moment, usegmt=True)
