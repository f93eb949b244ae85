"""What a person may write about a panel."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bridge.sources.qitech.config import QitechConfig, QitechMachine

PANEL = {"type": "qitech", "url": "https://192.168.1.10"}


def config(**keys: Any) -> QitechConfig:
    return QitechConfig.model_validate(PANEL | keys)


def test_an_address_is_enough() -> None:
    panel = config()
    assert (panel.username, panel.verify, panel.profile, panel.poll_period, panel.writes) == (
        "machine",
        True,
        "auto",
        0.5,
        False,
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "192.168.1.10"}, "write https://"),
        ({"url": "ftp://192.168.1.10"}, "write https://"),
        ({"url": "https://machine:secret@192.168.1.10"}, "no user name or password in the address"),
        ({"url": "https://192.168.1.10/api/v2/machine"}, "only scheme, host and port"),
        ({"url": "https://192.168.1.10:port"}, "Port could not be cast"),
        ({"poll_period": "100ms"}, "greater than or equal to 0.2"),
        ({"poll_period": "11s"}, "less than or equal to 10"),
        ({"request_timeout": "9s"}, "greater than or equal to 10"),
        ({"list_period": "1s"}, "greater than or equal to 5"),
        ({"profile": "4.x"}, "Input should be 'auto', '2.x' or '3.x'"),
        ({"pasword": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_told_in_words(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**keys)


def test_trailing_slash_of_the_address_does_not_matter() -> None:
    assert config(url="https://192.168.1.10/").url == "https://192.168.1.10"


def test_password_is_never_shown() -> None:
    assert "VoMZ" not in repr(config(password="VoMZ+KZK/4K"))
    assert "VoMZ" not in config(password="VoMZ+KZK/4K").model_dump_json()


@pytest.mark.parametrize("model", [QitechConfig, QitechMachine])
def test_every_key_is_described(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_machine_is_named_by_slug_or_by_number() -> None:
    by_slug = QitechMachine.model_validate({"slug": "extruder_v1", "serial": 57922})
    by_number = QitechMachine.model_validate({"machine": 4, "serial": 57922})
    assert by_slug.key() == by_number.key() == "1/4/57922"
    assert by_slug.identity() == by_number.identity()
    assert by_slug.identity() == {"vendor": 1, "machine": 4, "serial": 57922, "slug": "extruder_v1"}


def test_machine_type_we_do_not_know_can_be_named_by_number() -> None:
    dryer = QitechMachine.model_validate({"machine": 200, "serial": 1})
    assert dryer.key() == "1/200/1"
    assert dryer.identity()["slug"] == "machine_200"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"slug": "extruder_v9", "serial": 1}, "known are .*extruder_v1"),
        ({"serial": 1}, "say either slug or machine"),
        ({"slug": "extruder_v1", "machine": 4, "serial": 1}, "say either slug or machine"),
        ({"slug": "extruder_v1", "serial": 65536}, "less than or equal to 65535"),
        ({"slug": "extruder_v1"}, "Field required"),
    ],
)
def test_mistaken_machine_is_told_in_words(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QitechMachine.model_validate(keys)
