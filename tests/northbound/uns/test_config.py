"""The configuration refuses what cannot work."""

import pytest
from pydantic import ValidationError

from bridge.northbound.uns.config import Preset, UnsConfig


def test_defaults_are_the_design() -> None:
    config = UnsConfig.model_validate({})
    assert (config.publish_interval, config.heartbeat, config.expiry, config.qos) == (1.0, 60.0, 300.0, 1)
    assert config.preset is Preset.VTQ
    assert config.topic == "{enterprise}/{site}/{area}/{line}/{machine}"


def test_every_change_may_be_published() -> None:
    assert UnsConfig.model_validate({"publish_interval": 0}).publish_interval == 0
    assert UnsConfig.model_validate({"publish_interval": "0s"}).publish_interval == 0


def test_durations_are_written_with_units() -> None:
    config = UnsConfig.model_validate({"publish_interval": "250ms", "heartbeat": "2min", "expiry": "1h"})
    assert (config.publish_interval, config.heartbeat, config.expiry) == (0.25, 120.0, 3600.0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"topics": "x"}, "Extra inputs"),
        ({"topic": "{enterprise}/{site}"}, "without {machine}"),
        ({"heartbeat": "4min"}, "at least twice heartbeat"),
        ({"qos": 2}, "Input should be 0 or 1"),
        ({"publish_interval": "fast"}, "not a duration"),
        ({"preset": "xml"}, "'vtq', 'umh' or 'raw'"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(content: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match="(?s).*".join(["", problem.replace("{", r"\{").replace("}", r"\}")])):
        UnsConfig.model_validate(content)


def test_every_field_is_described() -> None:
    assert all(field.description for field in UnsConfig.model_fields.values())
