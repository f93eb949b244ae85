from __future__ import annotations

from bridge.errors import AuthFailed, NotConnected, SourceError
from bridge.sources._gravest import gravest


def test_gravest_failure_is_the_one_told() -> None:
    wrong, gone, bug = AuthFailed("password"), NotConnected("gone"), KeyError("ours")
    assert gravest(BaseExceptionGroup("", [gone, BaseExceptionGroup("", [wrong])])) is wrong
    assert gravest(BaseExceptionGroup("", [gone])) is gone
    with_bug = BaseExceptionGroup("", [gone, bug])
    assert gravest(with_bug) is with_bug
    assert not isinstance(gravest(with_bug), SourceError)
