"""What a simulator was asked, for assertions: bounded, without credentials."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

LENGTH = 2000
MAX_ACCOUNTS = 1000


@dataclass(slots=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    """With the query."""
    body: bytes
    when: datetime
    """On the simulator's clock."""
    account: str = ""
    """Whose credentials came with it, where the simulator tells; never the credentials."""
    status: int | None = None
    """What the client was answered; None: nothing whole (dropped, cut short, or not yet)."""


class RequestJournal:
    """The newest requests, oldest first, and the counts of all of them."""

    def __init__(self, length: int = LENGTH) -> None:
        self._requests: deque[Request] = deque(maxlen=length)
        self._counts: dict[str, Counter[str]] = {}

    def record(self, request: Request) -> Request:
        """Note a request that came in; the caller writes its status when it is answered. Gives it back."""
        self._requests.append(request)
        self._of(request.account)["requests"] += 1
        return request

    def answered(self, request: Request, status: int) -> None:
        """Note what the client was answered."""
        request.status = status
        self._of(request.account)[str(status)] += 1

    def of(self, path: str = "", method: str = "", account: str | None = None) -> list[Request]:
        """The requests to a path (without its query; "" for all), by method and account, oldest first."""
        return [
            request
            for request in self._requests
            if path in ("", request.path.partition("?")[0])
            and method in ("", request.method)
            and account in (None, request.account)
        ]

    def counts(self, account: str) -> Counter[str]:
        """Of one account since the start: "requests", and the answers by status ("200": 12)."""
        return Counter(self._counts.get(account, {}))

    def clear(self) -> None:
        """Forget everything."""
        self._requests.clear()
        self._counts.clear()

    def as_json(self) -> dict[str, Any]:
        """For the control port."""
        return {
            "requests": [
                {
                    "method": request.method,
                    "path": request.path,
                    "body": request.body.decode(errors="replace"),
                    "when": request.when,
                    "account": request.account,
                    "status": request.status,
                }
                for request in self._requests
            ],
            "accounts": {account: dict(counts) for account, counts in self._counts.items()},
        }

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> list[Request]: ...
    def __getitem__(self, index: int | slice) -> Request | list[Request]:
        return list(self._requests)[index] if isinstance(index, slice) else self._requests[index]

    def _of(self, account: str) -> Counter[str]:
        if account not in self._counts and len(self._counts) >= MAX_ACCOUNTS:
            account = "(others)"
        return self._counts.setdefault(account, Counter())
