"""What may be configured."""

import pytest
from pydantic import BaseModel, ValidationError

from bridge.northbound.opcua.config import OpcuaConfig, OpcuaLimits, OpcuaUser, Role, Trust, is_loopback
from bridge.northbound.opcua.passwords import hash_password


def test_nothing_said_is_loopback_secured_trust_required_and_nobody_may_in() -> None:
    config = OpcuaConfig()
    assert config.host == "127.0.0.1"
    assert config.trust is Trust.REQUIRED
    assert not config.unsecured_read_only
    assert config.users == ()
    assert "localhost" in config.names


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "plant-pc"])
def test_unsecured_endpoint_is_refused_off_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback only"):
        OpcuaConfig(host=host, unsecured_read_only=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_unsecured_endpoint_is_allowed_on_loopback(host: str) -> None:
    assert OpcuaConfig(host=host, unsecured_read_only=True).unsecured_read_only
    assert is_loopback(host)


def test_a_password_in_clear_is_refused_and_never_shown() -> None:
    with pytest.raises(ValidationError, match="salted hash") as caught:
        OpcuaUser(name="a", password_hash="hunter2")
    assert "hunter2" not in str(caught.value)
    hashed = hash_password("x")
    assert hashed not in repr(OpcuaUser(name="a", password_hash=hashed))


def test_two_users_of_one_name_are_refused() -> None:
    user = OpcuaUser(name="a", password_hash=hash_password("x"), role=Role.OBSERVER)
    with pytest.raises(ValidationError, match="same name"):
        OpcuaConfig(users=(user, user))


@pytest.mark.parametrize("settings", [{"nonsense": 1}, {"limits": {"nonsense": 1}}, {"application_uri": "no uri"}])
def test_unknown_and_malformed_keys_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpcuaConfig.model_validate(settings)


@pytest.mark.parametrize("model", [OpcuaConfig, OpcuaLimits, OpcuaUser])
def test_every_field_is_described(model: type[BaseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())


def test_an_email_address_is_checked_and_not_shown() -> None:
    user = OpcuaUser(name="a", password_hash=hash_password("x"), email="anna@acme.example")
    assert "acme" not in repr(user)
    with pytest.raises(ValidationError, match="no e-mail address") as caught:
        OpcuaUser(name="a", password_hash=hash_password("x"), email="anna@acme")
    assert "acme" not in str(caught.value)
