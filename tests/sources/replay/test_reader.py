"""Files that were cut off, damaged or edited: everything before the damage is read, and its line is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bridge.sources.replay.reader import Damaged, RecordReader, seconds_of
from bridge.sources.replay.record import MAX_LINE
from tests.sources.replay.records import observed, written

ITEMS = [
    (number / 10, observed(number / 10, {"number": number, "noise": f"{number * 7919 % 1009}"}))
    for number in range(300)
]


def read(path: Path) -> tuple[int, str]:
    """How many lines could be read, and what was wrong then."""
    count = 0
    with RecordReader(path) as reader:
        try:
            reader.header()
            while lines := reader.portion():
                count += len(lines)
        except Damaged as damage:
            return count, str(damage)
    return count, ""


def test_a_whole_record_is_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gz", ITEMS)
    assert read(path) == (301, "")
    assert seconds_of(path) == 29.9


def test_an_unpacked_one_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.decompress(written(tmp_path / "a.gz", ITEMS).read_bytes()))
    assert read(path) == (301, "")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_one_that_was_cut_off_is_read_up_to_there(tmp_path: Path, part: float) -> None:
    path = written(tmp_path / "a.gz", ITEMS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    count, why = read(path)
    assert 0 < count < 300
    assert why == f"{path}, line {count + 2}: the file was cut off here"
    assert 0 < seconds_of(path) < 30


def test_one_without_its_end_says_so(tmp_path: Path) -> None:
    count, why = read(written(tmp_path / "a.gz", ITEMS, ended=False))
    assert (count, "line 302: the file was cut off here" in why) == (300, True)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gz", ITEMS)
    for place in range(30, len(path.read_bytes()) - 4, 97):
        data = bytearray(written(path, ITEMS).read_bytes())
        data[place] ^= 0x10
        path.write_bytes(data)
        _, why = read(path)
        assert ", line " in why or read(path)[0] == 301, place  # a bit that no byte of the text depends on may pass


def test_a_line_that_was_edited_badly_is_named_after_what_stands_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = gzip.decompress(written(tmp_path / "a.gz", ITEMS).read_bytes()).splitlines(keepends=True)
    lines[40] = lines[40].replace(b'"received"', b'"recieved"')
    path.write_bytes(b"".join(lines))
    assert read(path) == (39, f"{path}, line 41: received is missing")


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(gzip.decompress(written(tmp_path / "a.gz", ITEMS[:1], ended=False).read_bytes()))
        for _ in range(50):
            file.write(b" " * MAX_LINE)
    assert read(path) == (1, f"{path}, line 3: longer than {MAX_LINE} bytes")


def test_what_is_no_record_is_said_so(tmp_path: Path) -> None:
    for content in (b"", b"hello\n", gzip.compress(b"[]\n"), b"\x1f\x8bnot gzip"):
        path = tmp_path / "a"
        path.write_bytes(content)
        count, why = read(path)
        assert (count, f"{path}, line 1: " in why) == (0, True)
