"""The standard address space, made once in a run of tests and copied for each server: to copy takes a tenth.

Bridges that run as processes of their own make theirs, as everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from asyncua.server.address_space import AddressSpace, NodeData

from bridge.northbound.opcua.stack import standard

_make = standard.fill


class _Original:
    """Made by the bridge's own code when the first server starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # servers fill in threads
        self._space: AddressSpace | None = None

    def copy_to(self, aspace: AddressSpace) -> None:
        with self._lock:
            if self._space is None:
                self._space = AddressSpace()
                _make(self._space)
        for node_id in self._space.keys():  # noqa: SIM118  # it is no mapping
            aspace[node_id] = _copied(self._space[node_id])

    def is_as_it_was(self) -> bool:
        """Copies share their values and references with it: no server may have changed one in its place."""
        if self._space is None:
            return True
        again = AddressSpace()
        _make(again)
        return _contents(again) == _contents(self._space)


def _copied(node: NodeData) -> NodeData:
    copied = NodeData(node.nodeid)
    copied.attributes = {one: standard.LeanValue(held.value) for one, held in node.attributes.items()}
    copied.references = node.references.copy()
    return copied


def _contents(space: AddressSpace) -> dict[object, object]:
    def of(node: NodeData) -> tuple[object, ...]:
        return {one: held.value for one, held in node.attributes.items()}, node.references, node.call

    return {node_id: of(space[node_id]) for node_id in space.keys()}  # noqa: SIM118


@contextmanager
def made_once() -> Iterator[None]:
    """Servers get copies. Fails at the end if one of them changed what others have as well."""
    original = _Original()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard, "fill", original.copy_to)
        yield
    assert original.is_as_it_was()


__all__ = ["made_once"]
