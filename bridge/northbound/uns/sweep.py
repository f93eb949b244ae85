"""What an earlier run left behind: retained topics of machines and tags that are no longer there.

A bridge keeps a retained `_machines` document in its own branch, with the branch of every machine it serves; a
machine's `_meta` names its topics. Together they say after a crash what was ours, without looking at anybody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import orjson

from bridge.errors import SubscribeRefused
from bridge.northbound.uns.topic import META, is_valid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bridge.transport.mqtt import Connecting, Link

_log = logging.getLogger(__name__)

SILENCE_S = 0.5
"""A broker that has nothing more to say for this long has nothing more retained."""
MAX_MACHINES = 10_000
MAX_TOPICS = 1_000_000
AT_ONCE = 100
"""Subscriptions in one step; their answers fit a link's inbox."""


async def left_behind(connecting: Connecting, machines_topic: str) -> set[str]:
    """Every retained topic the documents of an earlier run name; empty when there was none.

    Uses a short session of its own, so that the publisher's has no subscriptions. A broker that lets us publish only
    is not asked twice. Raises LinkLost, LinkRefused.
    """
    async with connecting as link:
        try:
            return await _collect(link, machines_topic)
        except SubscribeRefused as refusal:
            _log.warning(
                "Topics an earlier run may have left are not looked for, and stay: the broker refuses %s. "
                "Its ACL lacks: topic read %s",
                refusal,
                str(refusal).rpartition(": ")[0],
            )
            return set()


async def _collect(link: Link, machines_topic: str) -> set[str]:
    served = [content async for content in _retained(link, [machines_topic])]
    branches = _branches(served[0]) if served else []
    found = {machines_topic, *(f"{branch}/{META}" for branch in branches)} if served else set()
    for start in range(0, len(branches), AT_ONCE):
        metas = [f"{branch}/{META}" for branch in branches[start : start + AT_ONCE]]
        async for description in _retained(link, metas):
            found.update(_topics(description))
    return set(list(found)[:MAX_TOPICS])


async def _retained(link: Link, topics: Sequence[str]) -> AsyncIterator[Any]:
    """What is retained below these topics, decoded; what is not JSON is passed over."""
    await asyncio.gather(*(link.subscribe(topic) for topic in topics))
    missing, messages = set(topics), aiter(link.messages())
    with contextlib.suppress(TimeoutError):
        while missing:
            async with asyncio.timeout(SILENCE_S):
                message = await anext(messages)
            if message.topic in missing:
                missing.discard(message.topic)
                with contextlib.suppress(orjson.JSONDecodeError):
                    yield orjson.loads(message.payload)


def _branches(document: Any) -> list[str]:
    machines = document.get("machines") if isinstance(document, dict) else None
    roots = machines.values() if isinstance(machines, dict) else ()
    return [root for root in roots if isinstance(root, str) and is_valid(f"{root}/{META}")][:MAX_MACHINES]


def _topics(description: Any) -> Iterator[str]:
    tags = description.get("tags") if isinstance(description, dict) else None
    for tag in tags.values() if isinstance(tags, dict) else ():
        topic = tag.get("topic") if isinstance(tag, dict) else None
        if isinstance(topic, str) and is_valid(topic):
            yield topic
