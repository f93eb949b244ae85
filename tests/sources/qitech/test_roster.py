"""Which machines a panel has."""

from __future__ import annotations

from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.payloads import ListedMachine
from bridge.sources.qitech.profile import Profile
from bridge.sources.qitech.roster import Roster

EXTRUDER = ListedMachine(Identity(1, 4, 57922), "extruder_v1")
WINDER = ListedMachine(Identity(1, 2, 57923))


def test_machine_appears_with_what_a_mapping_is_matched_by() -> None:
    inventory = Roster("panel").muster([EXTRUDER], Profile.V2).inventory
    assert inventory is not None
    (found,) = inventory.appeared
    assert found.key == "1/4/57922"
    assert found.identity == {"vendor": 1, "machine": 4, "serial": 57922, "slug": "extruder_v1", "profile": "2.x"}


def test_only_changes_are_told() -> None:
    roster = Roster("panel")
    roster.muster([EXTRUDER], Profile.V3)
    assert roster.muster([EXTRUDER], Profile.V3).inventory is None
    change = roster.muster([WINDER], Profile.V3).inventory
    assert change is not None
    assert [machine.key for machine in change.appeared] == ["1/2/57923"]
    assert change.vanished == ("1/4/57922",)


def test_machine_without_a_slug_gets_that_of_its_number() -> None:
    present = Roster("panel").muster([WINDER], Profile.V3).present
    assert present["1/2/57923"].slug == "winder_v1"


def test_error_and_release_are_changes_of_the_machine() -> None:
    roster = Roster("panel")
    roster.muster([EXTRUDER], Profile.V2)
    failed = roster.muster([ListedMachine(EXTRUDER.identity, "extruder_v1", "no bus")], Profile.V2).inventory
    assert failed is not None
    assert failed.appeared[0].error == "no bus"
    updated = roster.muster([EXTRUDER], Profile.V3).inventory
    assert updated is not None
    assert updated.appeared[0].identity["profile"] == "3.x"


def test_machine_missing_from_a_list_that_still_grows_has_not_vanished() -> None:
    roster = Roster("panel")
    roster.muster([EXTRUDER, WINDER], Profile.V2)
    growing = roster.muster([EXTRUDER], Profile.V2, is_complete=False)
    assert growing.inventory is None
    assert set(growing.present) == {"1/4/57922"}
    grown = roster.muster([EXTRUDER], Profile.V2).inventory
    assert grown is not None
    assert grown.vanished == ("1/2/57923",)
