"""Of several failures at once, the one that says what happens next."""

from __future__ import annotations

from bridge.errors import AuthFailed, RateLimited, SourceError, leaves


def gravest(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the supervisor must know of several failures; the group itself where one is no vendor's fault."""
    found = list(leaves(errors))
    if not all(isinstance(leaf, SourceError) for leaf in found):
        return errors
    for kind in (AuthFailed, RateLimited):
        for leaf in found:
            if isinstance(leaf, kind):
                return leaf
    return found[0]
