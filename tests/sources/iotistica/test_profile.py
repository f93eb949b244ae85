from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.config.site import load_site
from bridge.config.vendor_profile import SHIPPED, load_profile, profile_of, shipped_profile
from bridge.errors import ConfigError
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.profile import REQUIRED, ROUTES, Profile, Throttle, at, fill

SITE = """\
version: 1
bridge: {name: b, enterprise: acme, site: muc}
sources:
  iot:
    type: iotistica
    profile: %s
    rest: {url: "https://cloud.example", username: u, password: p%s}
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_is_whole_and_says_its_name(name: str) -> None:
    profile = load_profile(name)
    assert profile.profile == name
    assert set(REQUIRED) <= profile.routes.keys() <= ROUTES.keys()


def test_every_request_is_in_some_profile() -> None:
    assert set().union(*(load_profile(name).routes for name in SHIPPED)) == ROUTES.keys()


def test_the_two_differ_as_page_and_code_do() -> None:
    actual, documented = load_profile("actual"), load_profile("documented")
    assert actual.routes["incidents"].path == "anomaly-incidents"
    assert documented.routes["incidents"].path == "anomaly/incidents"
    assert "reading_insert" not in actual.routes
    assert "alerts" not in documented.routes
    assert actual.routes["target_state"].auth == "device"
    assert (actual.limits["general"], documented.limits["general"]) == (300, 1000)
    assert not actual.can_be_named("a.b")
    assert documented.can_be_named("a.b")


def test_the_shell_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="channels"):
        load_profile("actual", {"websocket": {"channels": ["shell"]}})


def test_an_own_profile_extends_a_shipped_one_and_takes_routes_away(tmp_path: Path) -> None:
    own = tmp_path / "ours.yaml"
    own.write_text(
        "extends: actual\nprofile: ours\nlimits: {general: 60}\nroutes: {fleets: null, audit: {path: log}}\n"
    )
    profile = load_profile(str(own))
    assert (profile.profile, profile.limits["general"], profile.limits["auth"]) == ("ours", 60, 10)
    assert "fleets" not in profile.routes
    assert profile.routes["audit"].path == "log"
    assert profile.routes["audit"].read == load_profile("actual").routes["audit"].read


@pytest.mark.parametrize(
    ("profile", "changes", "sentence"),
    [
        ("nowhere.yaml", "", "cannot be read"),
        ("actual", ", profile_changes: {routes: {shell: {path: x}}}", "there is no such request"),
        ("actual", ", profile_changes: {routes: {agents: {path: 'a/{secret}'}}}", "nothing is known of secret"),
        ("actual", ", profile_changes: {routes: {login: null}}", "routes lacks login"),
        ("actual", ", profile_changes: {routes: {agents: {read: {rows: ['agents']}}}}", "not a JSON pointer"),
        ("actual", ", profile_changes: {limits: {general: 0}}", "limits.general"),
        ("actual", ", profile_changes: {metric_names: '('}", "not a regular expression"),
    ],
)
def test_what_is_wrong_with_a_profile_is_a_fault_of_the_site(
    tmp_path: Path, profile: str, changes: str, sentence: str
) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(SITE % (profile, changes))
    with pytest.raises(ConfigError) as told:
        load_site([file], {})
    assert sentence in str(told.value)


@pytest.mark.parametrize(("agents", "share", "is_fault"), [(60, 1.0, False), (60, 0.3, True), (400, 1.0, True)])
def test_periods_that_the_limit_does_not_allow_for_named_agents_are_a_fault(
    tmp_path: Path, agents: int, share: float, is_fault: bool
) -> None:
    named = [f"00000000-0000-4000-8000-{number:012d}" for number in range(agents)]
    file = tmp_path / "bridge.yaml"
    file.write_text(SITE % (f"actual\n    agents: {named}", f", share: {share}"))
    if not is_fault:
        load_site([file], {})
        return
    with pytest.raises(ConfigError, match="agents cannot be read so often") as told:
        load_site([file], {})
    assert "sources.iot.rest" in str(told.value)


def test_an_own_profile_is_found_beside_the_site_and_watched(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("extends: documented\nprofile: ours\n")
    file = tmp_path / "bridge.yaml"
    file.write_text(SITE % ("ours.yaml", ", profile_changes: {limits: {general: 60}}"))
    site = load_site([file], {})
    source = site.file.sources["iot"]
    assert isinstance(source, IotisticaConfig)
    profile = profile_of(source)
    assert profile is not None
    assert (profile.profile, profile.limits["general"]) == ("ours", 60)
    assert (tmp_path / "ours.yaml").resolve() in site.paths


def test_what_is_filled_in_is_quoted_and_what_is_not_known_is_left_out() -> None:
    route = load_profile("actual").routes["incident"]
    assert route.target({"incident": "../users?x=1"}) == "anomaly-incidents/..%2Fusers%3Fx%3D1"
    agents = load_profile("actual").routes["agents"]
    assert agents.params({"page": 2, "limit": None}) == {"page": "2", "filter": "all", "includeTags": "true"}
    assert fill({"a": "$x", "b": ["$x", "$y"], "c": {"d": "$y"}, "e": "x"}, {"x": 1}) == {
        "a": 1, "b": [1], "c": {}, "e": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("", {"a": [{"b/c": 1}]}), ("/a/0/b~1c", 1), ("/a/1", None), ("/a/x", None), ("/a/0/b~1c/d", None), ("/z", None)],
)
def test_pointers_find_what_is_there(pointer: str, found: Any) -> None:
    assert at(pointer, {"a": [{"b/c": 1}]}) == found


def test_a_success_is_never_a_throttle() -> None:
    assert not Throttle.model_validate({}).is_meant(200, True, "Too many requests")


def test_the_shipped_files_have_no_key_too_many() -> None:
    with pytest.raises(ValidationError):
        Profile.model_validate({**load_profile("actual").model_dump(), "more": 1})
    assert all(shipped_profile(name).is_file() for name in SHIPPED)
