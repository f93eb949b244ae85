import math
from datetime import UTC, datetime

import pytest

from bridge.mapping.convert import converter, is_text, kind, parse_time, word
from bridge.model.value import DataType

D = DataType


@pytest.mark.parametrize(
    ("data_type", "raw", "value"),
    [
        (D.Double, 1, 1.0),
        (D.Double, -0.5, -0.5),
        (D.Int32, 5.0, 5),
        (D.Int32, -(2**31), -(2**31)),
        (D.UInt32, 2**32 - 1, 2**32 - 1),
        (D.Int64, 2**63 - 1, 2**63 - 1),
        (D.Boolean, True, True),
        (D.String, "Grüße 🏭", "Grüße 🏭"),
        (D.String, "", ""),
    ],
)
def test_lossless_raw_value_is_taken(data_type: DataType, raw: object, value: object) -> None:
    typed = converter(data_type)(raw)
    assert typed == value
    assert type(typed) is type(value)


@pytest.mark.parametrize(
    ("data_type", "raw", "sentence"),
    [
        (D.Double, True, "expected a number, got true"),
        (D.Double, "1.5", "expected a number, got the text '1.5'"),
        (D.Double, None, "got null"),
        (D.Double, [1], "got a list"),
        (D.Double, {}, "got an object"),
        (D.Double, math.nan, "NaN or infinite"),
        (D.Double, -math.inf, "NaN or infinite"),
        (D.Double, 10**400, "more than 300 digits"),
        (D.Int32, 1.5, "expected a whole number, got 1.5"),
        (D.Int32, 2**31, "does not fit Int32"),
        (D.UInt32, -1, "does not fit UInt32"),
        (D.Int64, 10**400, "does not fit Int64"),
        (D.Int64, 1e300, "does not fit Int64"),
        (D.Int32, math.nan, "NaN or infinite"),
        (D.Int32, True, "expected a number, got true"),
        (D.Boolean, 1, "expected true or false, got the number 1"),
        (D.Boolean, "true", "expected true or false"),
        (D.String, 5, "expected a text, got the number 5"),
        (D.String, "half \ud800", "lone surrogate"),
        (D.DateTime, "2026-01-01T00:00:00", "no time zone"),
        (D.DateTime, "yesterday", "isoformat"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(data_type: DataType, raw: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        converter(data_type)(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T01:00:00.500+01:00",
        "2026-01-01T00:00:00.500999Z",
        1767225600500,
        1767225600500.0,
        1767225600.5,
        "1767225600500",
    ],
)
def test_time_is_utc_in_whole_milliseconds(raw: object) -> None:
    moment = parse_time(raw)
    assert moment == datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "raw",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59Z",
        -1,
        -1e15,
        1e18,
        1e300,
        10**400,
        math.nan,
        math.inf,
        True,
        None,
        "",
        "12",
        [],
        {},
    ],
)
def test_what_is_no_time_is_refused(raw: object) -> None:
    with pytest.raises(ValueError):
        parse_time(raw)


@pytest.mark.parametrize(
    ("raw", "written"),
    [(True, "true"), (False, "false"), (1, "1"), (1.0, "1"), (0.5, "0.5"), ("true", "true"), (None, None), ([], None)],
)
def test_scalar_is_written_as_a_key(raw: object, written: str | None) -> None:
    assert word(raw) == written


def test_number_of_endless_digits_is_no_key() -> None:
    assert word(10**5000) is None


def test_half_a_character_is_no_text() -> None:
    assert is_text("Düse")
    assert not is_text("\udc00")
    assert not is_text(5)


def test_long_text_is_shortened_in_a_sentence() -> None:
    assert len(kind("x" * 1000)) < 60
