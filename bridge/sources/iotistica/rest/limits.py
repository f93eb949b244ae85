"""Limits: the vendor's counts, one budget for each, and what its answers say about them.

The code counts callers by their address, not by their account, and answers 500 where the page promises 429; both tell
what is left in x-ratelimit-* (facts 1.4). Rules:

1. A refusal for asking too often slows the budget it hit, and holds all others for as long: whoever counts (a proxy
   too) has said when to come back, and nothing goes out before.
2. Where less than LOW of a count is left, somebody else lives on it too: what is left is spread over the time left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from bridge.sources._budget import Budget, Figures, Priority

if TYPE_CHECKING:
    from bridge.ports import Clock
    from bridge.sources._budget import Turn
    from bridge.sources.iotistica.profile import Bucket, Profile
    from bridge.transport.http import Answer

LOW: Final = 0.2
"""Part of a count below which the rest is spread."""

LEAST: Final = 4.0
"""Requests a minute that a budget has whatever the share: fewer cannot be paced."""

LONGEST_WINDOW: Final = 120.0
"""Seconds: windows are a minute; a server that tells of longer ones is not believed."""


class Limits:
    """One budget for each of the vendor's counts. `share` is our part of them."""

    def __init__(self, profile: Profile, share: float, clock: Clock) -> None:
        self._profile = profile
        self.budgets: dict[Bucket, Budget] = {
            bucket: Budget(max(LEAST, limit * share), clock) for bucket, limit in profile.limits.items()
        }
        self.remaining: int | None = None
        """Of the general count, by the newest answer."""

    async def turn(self, bucket: Bucket, priority: Priority) -> Turn:
        """Wait until a request may go."""
        return await self.budgets[bucket].turn(priority)

    def hear(self, answer: Answer, bucket: Bucket, turn: Turn) -> bool:
        """What an answer says about a count; whether it refused us for asking too often."""
        own = self.budgets[bucket]
        if self.refuses(answer):
            asked = _asked(answer)
            own.throttled(turn, asked)
            for budget in self.budgets.values():
                if budget is not own:
                    budget.hold(own.figures.paused)
            return True
        own.answered()
        self._spread(answer, bucket)
        return False

    def refuses(self, answer: Answer) -> bool:
        """Whether an answer says that we ask too often."""
        has_retry_after = "retry-after" in answer.headers
        return self._profile.throttle.is_meant(answer.status, has_retry_after, answer.words)

    def _spread(self, answer: Answer, bucket: Bucket) -> None:
        limit, remaining, reset = (_count(answer, name) for name in ("limit", "remaining", "reset"))
        if remaining is not None and bucket == "general":
            self.remaining = remaining
        if limit and remaining is not None and reset is not None and remaining < LOW * limit:
            self.budgets[bucket].hold(min(reset, LONGEST_WINDOW) / (remaining + 1))

    @property
    def figures(self) -> Figures:
        """Of the general count."""
        return self.budgets["general"].figures

    @property
    def is_hopeless(self) -> bool:
        """Nothing but refusals for long."""
        return any(budget.is_hopeless for budget in self.budgets.values())


def _count(answer: Answer, name: str) -> int | None:
    text = answer.headers.get(f"x-ratelimit-{name}", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _asked(answer: Answer) -> float | None:
    """Seconds we are asked to wait: by the header, or by the body's "59 seconds"."""
    if answer.asks_to_wait is not None:
        return answer.asks_to_wait
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    text = str(said.get("retryAfter", "")).split(" ")[0] if isinstance(said, dict) else ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
