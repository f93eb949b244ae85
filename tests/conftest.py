"""What every test gets."""

from __future__ import annotations

import pytest

from tests import peers


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose peer is absent, or fail it where peers are required."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            why = peers.missing(name)
            if why is None:
                continue
            if peers.are_required():
                pytest.fail(why, pytrace=False)
            pytest.skip(why)
