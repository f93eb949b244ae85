"""bdSeq on disk."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from bridge.northbound.sparkplug.bdseq import BdSeq
from bridge.northbound.sparkplug.topic import EdgeNode

if TYPE_CHECKING:
    from pathlib import Path

NODE = EdgeNode("acme:essen", "bridge-1")


def test_topics_nbirth_bdseq_increment_over_restarts(tmp_path: Path) -> None:
    """tck-id-topics-nbirth-bdseq-increment: begins at 0, one more with each CONNECT, 255 to 0."""
    seen = []
    for _ in range(258):
        kept = BdSeq(tmp_path, NODE)
        seen.append(kept.claim())
    assert seen == [*range(256), 0, 1]


def test_topics_nbirth_bdseq_increment_over_connections_of_one_run(tmp_path: Path) -> None:
    kept = BdSeq(tmp_path, NODE)
    assert [kept.claim() for _ in range(258)] == [*range(256), 0, 1]


def test_number_that_was_not_used_is_not_skipped(tmp_path: Path) -> None:
    kept = BdSeq(tmp_path, NODE)
    kept.claim()
    for _ in range(3):
        assert kept.claim() == 1
        kept.give_back()
    assert BdSeq(tmp_path, NODE).claim() == 1


def test_number_0_that_was_given_back_is_0_again(tmp_path: Path) -> None:
    kept = BdSeq(tmp_path, NODE)
    kept.claim()
    kept.give_back()
    assert BdSeq(tmp_path, NODE).claim() == 0


def test_number_whose_fate_is_unknown_is_never_said_again(tmp_path: Path) -> None:
    """Whoever is killed between claim and CONNECT, or after it, goes on with the next one."""
    assert BdSeq(tmp_path, NODE).claim() == 0
    assert BdSeq(tmp_path, NODE).claim() == 1


def test_each_edge_node_has_its_own(tmp_path: Path) -> None:
    BdSeq(tmp_path, NODE).claim()
    assert BdSeq(tmp_path, EdgeNode("acme", "essen-bridge-1")).claim() == 0
    assert BdSeq(tmp_path, EdgeNode("ACME:essen", "bridge-1")).claim() == 0
    assert BdSeq(tmp_path, NODE).claim() == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"next": "x"}', '{"next": null}'])
def test_unreadable_file_begins_at_0(tmp_path: Path, content: str) -> None:
    BdSeq(tmp_path, NODE).claim()
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert BdSeq(tmp_path, NODE).claim() == 0


def test_directory_that_cannot_be_written_keeps_counting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    kept = BdSeq(tmp_path / "file" / "below", NODE)
    with caplog.at_level(logging.ERROR):
        kept.claim()
        assert kept.claim() == 1
    assert "bdSeq" in caplog.text


def test_file_says_whose_it_is(tmp_path: Path) -> None:
    BdSeq(tmp_path, NODE).claim()
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == {"edge_node": "acme:essen/bridge-1", "next": 1}
    assert not [one for one in tmp_path.iterdir() if one.suffix == ".new"]
