"""`each`: tags that appear with the data, at the level of the mapping."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mapping.machine import PartMapping, compile_machine
from bridge.mapping.machine import with_tags as grow
from bridge.mapping.targets import targets_of
from bridge.model.known_tag import KnownTag
from bridge.model.observation import Observation
from bridge.model.path import Place
from bridge.model.plant import Machine, Part
from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue
from tests.mapping.rig import START, compiled, faults

HEAD = """
version: 1
mapping: test/agent
match: {vendor: 1}
channels: {readings: {on_change: true, stale_after: 1min, bad_after: 10min}}
"""
EACH = """
tags:
  Status/State: {from: readings.state, type: String}
each:
  readings:
    in: readings.rows
    key: [device_uuid, metric]
    limit: 6
    tag:
      Monitoring/<device>/<metric>:
        from: value
        unit_from: unit
        quality: {from: quality, map: {bad: BadDeviceFailure, uncertain: UncertainSubNormal}}
        time: time
        description: <metric> of <device>
"""


def row(uuid: str, metric: Any, value: Any, **more: Any) -> dict[str, Any]:
    return {"device_uuid": uuid, "device": "Press", "metric": metric, "value": value, **more}


class Rig:
    """A machine of one part; `grow` makes what rows have asked for, as the runtime does."""

    def __init__(self, text: str = EACH, known: Iterable[KnownTag] = (), *, writes: bool = False) -> None:
        self.known = list(known)
        self._slots: dict[str, int] = {}
        counter = itertools.count()
        self.slot = lambda identifier: self._slots.setdefault(identifier, next(counter))
        part = PartMapping(Part("main", "s", "m", "test/agent"), compiled(text, head=HEAD), {}, writes, self.known)
        self.bound = compile_machine("agent-1", Place("acme", "essen"), [part], self.slot)
        self.projection = self.bound.projections["main"]
        self.values: dict[int, DataValue] = {}

    @property
    def machine(self) -> Machine:
        return self.bound.machine

    def see(self, *rows: Any, **more: Any) -> dict[str, DataValue]:
        return self.take({"rows": list(rows)}, **more)

    def take(self, payload: Any, **more: Any) -> dict[str, DataValue]:
        pairs = self.projection.project(Observation("s", "m", "readings", payload, START, **more))
        return self._named(pairs)

    def grow(self) -> dict[str, DataValue]:
        out: list[tuple[int, DataValue]] = []
        for each in self.projection.each:
            grown = grow(self.bound, "main", each.newcomers(), self.slot)
            self.bound, self.known = grown.bound, [*self.known, *grown.tags]
            each.flush(out)
        return self._named(out)

    def feed(self, *rows: Any) -> dict[str, DataValue]:
        self.see(*rows)
        return self.grow()

    def _named(self, pairs: Iterable[tuple[int, DataValue]]) -> dict[str, DataValue]:
        names = {tag.slot: tag.name for tag in self.machine.tags}
        self.values.update(pairs)
        return {names[slot]: value for slot, value in pairs}

    def names(self) -> list[str]:
        return [tag.name for tag in self.machine.tags if tag.definition.is_found]

    def ids(self) -> dict[str, str]:
        return {tag.name: tag.id for tag in self.machine.tags if tag.definition.is_found}


def test_a_row_makes_a_tag_whose_id_is_its_key_and_whose_name_is_what_the_row_says() -> None:
    rig = Rig()
    assert list(rig.see(row("u-1", "temp", 21.5, unit="°C", quality="good"))) == ["Status/State"]
    said = rig.grow()
    assert said["Monitoring/Press/temp"].value == 21.5
    tag = rig.machine.tag("Monitoring/Press/temp")
    assert tag is not None
    assert tag.id == "agent-1.readings.u-1.temp"
    assert rig.machine.with_id(tag.id) is tag
    assert tag.definition.data_type is DataType.Double
    assert tag.definition.unit is not None and tag.definition.unit.unece == "CEL"
    assert tag.definition.description == "temp of Press"


@pytest.mark.parametrize(
    ("value", "data_type"),
    [(1, DataType.Double), (1.5, DataType.Double), (True, DataType.Boolean), ("x", DataType.String)],
)
def test_the_first_value_gives_the_type(value: Any, data_type: DataType) -> None:
    rig = Rig()
    assert rig.feed(row("u", "m", None)) == {}
    assert rig.names() == []
    assert rig.feed(row("u", "m", value))["Monitoring/Press/m"].value == value
    tag = rig.machine.tag("Monitoring/Press/m")
    assert tag is not None and tag.definition.data_type is data_type


def test_a_value_of_another_type_is_bad_and_counted_and_the_type_stays() -> None:
    rig = Rig()
    rig.feed(row("u", "m", 1))
    said = rig.see(row("u", "m", "broken"))["Monitoring/Press/m"]
    assert (said.value, said.status) == (None, StatusCode.BadOutOfRange)
    assert "broken" in said.reason
    assert rig.projection.each[0].tally.contrary == 1
    assert rig.see(row("u", "m", 2))["Monitoring/Press/m"].value == 2


def test_two_devices_of_one_name_have_two_folders_and_a_renamed_one_keeps_its_own() -> None:
    rig = Rig()
    rig.feed(row("u-1", "temp", 1.0), row("u-2", "temp", 2.0))
    first, second = rig.names()
    assert first == "Monitoring/Press/temp"
    assert second.startswith("Monitoring/Press-") and second.endswith("/temp")
    rig.feed({**row("u-1", "pressure", 3.0), "device": "Other"}, row("u-2", "pressure", 4.0))
    assert rig.names()[2:] == ["Monitoring/Press/pressure", f"{second.rpartition('/')[0]}/pressure"]


def test_what_was_known_has_its_name_and_id_again_whatever_comes_first_now() -> None:
    rig = Rig()
    rig.feed(row("u-2", "temp", 2.0, unit="bar"))
    rig.feed(row("u-1", "temp", 1.0), row("u-1", "Temp", 1.0), row("u-1", "temp/max", 1.0))
    again = Rig(known=rig.known)
    assert again.ids() == rig.ids()
    unit = again.machine.tags[-4].definition.unit
    assert unit is not None and unit.code == "bar"
    name = next(name for name, identifier in rig.ids().items() if identifier == "agent-1.readings.u-1.temp")
    assert again.see(row("u-1", "temp", 5.0))[name].value == 5.0


def test_leaf_and_folder_and_names_that_differ_in_case_are_told_apart() -> None:
    rig = Rig()
    rig.feed(row("u", "temp", 1.0))
    rig.feed(row("u", "temp/max", 1.0), row("u", "TEMP", 1.0), row("u", "a/b", 1.0))
    rig.feed(row("u", "a", 1.0))
    names = rig.names()
    assert names[0] == "Monitoring/Press/temp"
    assert "Monitoring/Press/temp-max" in names and "Monitoring/Press/a/b" in names
    assert len({name.lower() for name in names}) == len(names) == 5
    assert not any(other.lower().startswith(f"{name.lower()}/") for name in names for other in names)


def test_beyond_the_limit_rows_are_refused_and_counted() -> None:
    rig = Rig()
    rig.feed(*(row("u", f"m{number}", 1.0) for number in range(9)))
    assert len(rig.names()) == 6
    assert rig.projection.each[0].tally.refused == 3
    assert rig.see(row("u", "m0", 2.0))["Monitoring/Press/m0"].value == 2.0


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        "x",
        {},
        {"device_uuid": None, "metric": "m"},
        {"device_uuid": [], "metric": "m"},
        row("", "m", 1),
        row("u", True, 1),
        row("u", "n", {"a": 1}),
        row("u", "\ud800", 1),
    ],
)
def test_a_row_that_is_none_is_counted_and_harms_no_other(bad: Any) -> None:
    rig = Rig()
    assert rig.feed(bad, row("u", "m", 1.0)) == {"Monitoring/Press/m": rig.values[max(rig.values)]}
    assert rig.projection.each[0].tally.unreadable == 1


def test_quality_and_time_come_from_the_row() -> None:
    rig = Rig()
    rig.feed(row("u", "m", 1.0, quality="good", time="2026-03-04T05:00:00Z"))
    said = rig.see(row("u", "m", 2.0, quality="uncertain", time="2026-03-04T05:01:00Z"))["Monitoring/Press/m"]
    assert (said.value, said.status) == (2.0, StatusCode.UncertainSubNormal)
    assert said.source_timestamp.minute == 1
    said = rig.see(row("u", "m", 3.0, quality="bad"))["Monitoring/Press/m"]
    assert (said.value, said.status) == (None, StatusCode.BadDeviceFailure)


def test_a_null_that_the_vendor_calls_bad_says_so_in_its_words() -> None:
    rig = Rig(EACH.replace("uncertain: UncertainSubNormal}", "uncertain: UncertainSubNormal}, reason_from: code"))
    rig.feed(row("u", "m", 1.0))
    said = rig.see(row("u", "m", None, quality="bad", code="DEVICE_OFFLINE"))["Monitoring/Press/m"]
    assert (said.value, said.status) == (None, StatusCode.BadDeviceFailure)
    assert said.reason == "The vendor calls this value bad (DEVICE_OFFLINE)"
    assert rig.see(row("u", "m", None, quality="uncertain"))["Monitoring/Press/m"].status is StatusCode.BadNoData


def test_a_key_field_may_have_alternatives() -> None:
    rig = Rig(EACH.replace("[device_uuid, metric]", "[[device_uuid, device], metric]"))
    bare = {"device": "Saw", "metric": "temp", "value": 1.0}
    rig.feed(bare, {**bare, "device_uuid": None, "device": "Mill"}, row("u", "temp", 3.0))
    assert list(rig.ids().values()) == [f"agent-1.readings.{one}.temp" for one in ("Mill", "Saw", "u")]
    for value in (5.0, 6.0):
        rows = [{**bare, "value": value}, {**bare, "device_uuid": None, "device": "Mill", "value": -value}]
        said = rig.see(*rows, row("u", "temp", value * 2))
        assert [said[f"Monitoring/{name}/temp"].value for name in ("Saw", "Mill", "Press")] == [
            value,
            -value,
            value * 2,
        ]


def test_limits_make_alarms_of_their_own() -> None:
    rig = Rig(EACH.replace("from: value", "from: value\n        limits: {high: 50}"))
    said = rig.feed(row("u", "m", 60), row("u", "s", "text"))
    assert said["Alarms/Press/m/High"].value is True
    assert "Alarms/Press/s/High" not in said
    assert rig.machine.tag("Alarms/ActiveCount") is not None


def test_a_unit_nobody_knows_is_shown_as_it_is_and_has_no_code() -> None:
    rig = Rig()
    rig.feed(row("u", "m", 1.0, unit="furlong"), row("u", "s", "text", unit="furlong"))
    unit = rig.machine.tags[-2].definition.unit
    assert unit is not None
    assert (unit.symbol, unit.unece, unit.unit_id) == ("furlong", "", -1)
    assert rig.machine.tags[-1].definition.unit is None


def test_another_unit_than_the_tag_has_is_no_value_of_it_and_another_spelling_is() -> None:
    rig = Rig()
    rig.feed(row("u", "m", 1.0, unit="C"))
    assert rig.see(row("u", "m", 2.0, unit="°C"))["Monitoring/Press/m"].value == 2.0
    assert rig.see(row("u", "m", 3.0, unit=None))["Monitoring/Press/m"].value == 3.0
    said = rig.see(row("u", "m", 70.0, unit="°F"))["Monitoring/Press/m"]
    assert (said.value, said.status) == (None, StatusCode.BadConfigurationError)
    assert "°F" in said.reason and rig.projection.each[0].tally.contrary == 1


def test_a_unit_that_comes_later_is_learned_and_the_slot_stays() -> None:
    rig = Rig()
    rig.feed(row("u", "m", 1.0))
    before = rig.machine.tags[-1]
    rig.feed(row("u", "m", 2.0, unit="bar"))
    after = rig.machine.tags[-1]
    assert (after.slot, after.id, after.name) == (before.slot, before.id, before.name)
    assert after.definition.unit is not None and after.definition.unit.code == "bar"
    assert rig.known[-1].unit == "bar"


JUDGED = EACH.replace(
    "time: time",
    """time: time
        deadband: 0.5
        scale: 2.0
        bad_when: [{path: code, in: [TIMEOUT], status: BadTimeout}, {path: value, eq: -999}]
        uncertain_when: {all: [{path: code, is_null: false}, {path: unsure, eq: true}]}""",
)
SAID = st.fixed_dictionaries(
    {"value": st.sampled_from([1.0, 1.1, 5, -999, 2**60, 1e308, None, "x", True, math.nan])},
    optional={
        "quality": st.sampled_from(["good", "bad", "uncertain", "odd", None, 1, [], True]),
        "code": st.sampled_from(["TIMEOUT", "OTHER", None, 7]),
        "unsure": st.booleans(),
        "unit": st.sampled_from(["bar", "BAR", "°C", None, "", 5]),
        "time": st.sampled_from(["2026-03-04T05:00:00Z", "2026-03-04T05:01:00Z", "no time", None, 9**30]),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SAID, max_size=12))
def test_the_quick_way_says_what_the_long_way_says(said: list[dict[str, Any]]) -> None:
    rigs = [Rig(JUDGED), Rig(JUDGED)]
    for rig in rigs:
        rig.feed(row("u", "m", 1.0, quality="good"), row("u", "n", 1.0))
    for tag in rigs[1].projection.each[0].tags:
        tag.is_quick = False
    for number, one in enumerate(said):
        rows = [{**row("u", "mn"[number % 2], 0), **one}]
        quick, long = ({name: value[:3] for name, value in rig.see(*rows).items()} for rig in rigs)
        assert quick == long


def test_rows_that_wait_for_their_tag_are_all_said() -> None:
    rig = Rig()
    rig.see(row("u", "m", 1.0), row("u", "m", 2.0))
    rig.see(row("u", "m", 3.0))
    out: list[tuple[int, DataValue]] = []
    each = rig.projection.each[0]
    grow(rig.bound, "main", each.newcomers(), rig.slot)
    each.flush(out)
    assert [value.value for _, value in out] == [1.0, 2.0, 3.0]


def test_the_past_moves_nothing_and_makes_no_tag() -> None:
    rig = Rig()
    rig.feed(row("u", "m", 1.0))
    past = Observation(
        "s", "m", "readings", {"rows": [row("u", "m", 9.0), row("u", "new", 9.0)]}, START, historical=True
    )
    assert [value.value for _, value in rig.projection.late(past)] == [9.0]
    assert rig.grow() == {}
    assert rig.see(row("u", "m", 1.0)) == {}


def test_other_tags_of_the_channel_are_as_ever() -> None:
    assert Rig().take({"state": "up"})["Status/State"].value == "up"


def test_a_row_by_its_place_in_the_list_is_refused_with_what_to_do() -> None:
    """Rows come in parts: readings.rows[0] was one device's value, and then another's, and Good."""
    tags = """
  Monitoring/A: {from: "readings.rows[0].value", type: Double}
  Setpoints/B: {from: readings.b, type: Double, write: {send: {b: $value}, confirm_path: "readings.rows[2].value"}}
  Monitoring/C: {from: readings.c, type: Double, bad_when: {path: "readings.rows[1].quality", eq: bad}}
  Monitoring/D: {from: "readings.others[0].value", type: Double}
  Monitoring/E: {from: "readings.rows", type: String}
"""
    found = faults(EACH.replace("\ntags:", f"\ntags:{tags.rstrip()}"), head=HEAD)
    assert [one.path for one in found] == [
        ("tags", "Monitoring/A", "from"),
        ("tags", "Setpoints/B", "write", "confirm_path"),
        ("tags", "Monitoring/C", "bad_when", "path"),
    ]
    assert "'readings.rows[0].value' is whatever row stands at place 0" in found[0].problem
    assert "such as readings.rows[device_uuid=…,metric=…]" in found[0].expected
    assert "makes a tag of each row too (Monitoring/<device>/<metric>)" in found[0].expected


CHOSEN = EACH.replace(
    "\ntags:",
    """
tags:
  Setpoints/Pressure:
    from: readings.rows[device_uuid=u-1,metric='set point'].value
    type: Double
    unit: bar
    range: [0, 12]
    write: {send: {device: u-1, point: set point, value: $value}, confirm_within: 30s}""",
).replace("time: time", "time: time\n        bad_when: {path: code, eq: TIMEOUT, status: BadTimeout}")
CHOSEN_NAME, FOUND_NAME = "Setpoints/Pressure", "Monitoring/Press/set-point"


def point(value: Any, **more: Any) -> dict[str, Any]:
    return row("u-1", "set point", value, **more)


def test_a_chosen_row_is_a_tag_of_its_own_beside_the_one_it_makes() -> None:
    rig = Rig(CHOSEN)
    assert rig.see(row("u-2", "set point", 1.0))[CHOSEN_NAME].status is StatusCode.BadNoData
    assert CHOSEN_NAME not in rig.see(row("u-2", "set point", 2.0))
    assert rig.see(row("u-2", "set point", 1.0), point(4.0))[CHOSEN_NAME].value == 4.0
    rig.grow()
    said = rig.see(point(5.0, time="2026-03-04T05:00:00Z"))
    assert said[CHOSEN_NAME] == said[FOUND_NAME]
    assert said[CHOSEN_NAME].source_timestamp.isoformat() == "2026-03-04T05:00:00+00:00"


def test_a_list_that_comes_without_the_chosen_row_says_nothing_of_it() -> None:
    rig = Rig(CHOSEN)
    rig.feed(point(4.0))
    assert CHOSEN_NAME not in rig.see(row("u-2", "set point", 1.0))
    assert CHOSEN_NAME not in rig.take({"rows": []})
    assert rig.see(point(None))[CHOSEN_NAME].status is StatusCode.BadNoData


def test_what_the_rule_says_of_the_quality_of_every_row_holds_for_a_chosen_one() -> None:
    rig = Rig(CHOSEN)
    rig.feed(point(4.0))
    for said, status in (
        ({"quality": "bad"}, StatusCode.BadDeviceFailure),
        ({"code": "TIMEOUT"}, StatusCode.BadTimeout),
        ({"quality": "uncertain"}, StatusCode.UncertainSubNormal),
        ({"unit": "psi"}, StatusCode.BadConfigurationError),
        ({"unit": "BAR"}, StatusCode.Good),
    ):
        assert rig.see(point(4.0, **said))[CHOSEN_NAME].status is status
    own = Rig(
        CHOSEN.replace(
            "range: [0, 12]",
            "quality: {from: \"readings.rows[device_uuid=u-1,metric='set point'].q\", map: {x: BadTimeout}}",
        )
    )
    assert own.see(point(4.0, quality="bad"))[CHOSEN_NAME].status is StatusCode.Good
    assert own.see(point(4.0, q="x"))[CHOSEN_NAME].status is StatusCode.BadTimeout


def test_a_chosen_row_that_is_silent_says_so_and_comes_back() -> None:
    rig = Rig(CHOSEN)
    rig.feed(point(4.0))
    (each,) = rig.projection.each
    slots = {rig.slot(f"agent-1.{CHOSEN_NAME.replace('/', '.')}"), rig.slot("agent-1.readings.u-1.set~20point")}
    assert {slot for silence in each.silent(61.0, 60.0, 600.0) for slot in silence.slots} == slots
    assert {*each.quiet_slots()} == slots
    assert rig.see(point(4.0))[CHOSEN_NAME].value == 4.0
    assert not [*each.quiet_slots()]


def test_the_past_of_a_chosen_row_is_told_and_moves_nothing() -> None:
    rig = Rig(CHOSEN)
    rig.feed(point(4.0))
    past = Observation("s", "m", "readings", {"rows": [point(9.0), row("u-2", "m", 1.0)]}, START, historical=True)
    assert [value.value for _, value in rig.projection.late(past)] == [9.0, 9.0]
    assert CHOSEN_NAME not in rig.see(point(4.0))


def test_a_chosen_row_is_said_again_when_its_channel_returns_and_by_a_new_mapping() -> None:
    before, after = Rig(), Rig(CHOSEN)
    before.feed(point(4.0))
    after.projection.remember(before.projection)
    said = dict(after.projection.restate("readings", START))
    assert said[after.slot("agent-1.Setpoints.Pressure")].value == 4.0
    assert after.slot("agent-1.Setpoints.Pressure") in after.projection.slots("readings")


def test_a_set_point_of_a_row_says_what_to_send_and_where_it_is_read_back() -> None:
    rig = Rig(CHOSEN, writes=True)
    (part,) = rig.machine.parts
    mapping = rig.projection.mapping
    tags = {tag.name: tag for tag in rig.machine.tags}
    (target,) = targets_of("agent-1", part, mapping, tags)
    ((item),) = target.items({"value": 5.0})
    assert item.action.payload == {"device": "u-1", "point": "set point", "value": 5.0}
    (((expected,),)) = item.action.confirm
    assert expected.path == "readings.rows[device_uuid='u-1',metric='set point'].value"
    assert expected.is_sampled
    assert item.action.confirm_within == 30.0


PLACE = "readings.rows[device_uuid=u-1,metric='set point']"
OTHER = "readings.rows[device_uuid=u-1,metric=x]"


@pytest.mark.parametrize(
    ("change", "problem", "expected"),
    [
        ((",metric='set point']", "]"), "may be several rows: each: readings tells them apart", "metric too"),
        (("unit: bar", "time: readings.at"), "'readings.at' leads elsewhere", "that row"),
        (("unit: bar", f"time: {OTHER}.at"), "more than one row", "a tag for each row"),
        (
            (f"from: {PLACE}.value", f'bad_when: {{path: "{OTHER}.q", eq: bad}}\n    from: readings.b'),
            "'readings.b' leads elsewhere",
            "that row",
        ),
        (("='set point'", "=set point"), "not a path from its character 14 on", "zones[name=front,side='left hand']"),
    ],
)
def test_a_fault_of_a_chosen_row_is_told(change: tuple[str, str], problem: str, expected: str) -> None:
    assert change[0] in CHOSEN
    (found,) = faults(CHOSEN.replace(*change), head=HEAD)
    assert found.path == ("tags", CHOSEN_NAME, "from")
    assert problem in found.problem
    assert expected in found.expected


def test_the_item_state_is_of_no_chosen_row() -> None:
    (found,) = faults(CHOSEN + "\nitem_state: {from: Setpoints/Pressure, map: {'1': Executing}}\n", head=HEAD)
    assert found.path == ("item_state", "from")
    assert "list that comes in parts" in found.problem


def test_a_row_of_a_list_that_comes_whole_is_looked_for_each_time() -> None:
    """Of no rule of `each`: there a row that is not told is gone."""
    text = """
tags:
  Monitoring/Front:
    from: readings.zones[name=front,no=2].rpm
    type: Double
    absent: BadNotConnected
    bad_when: {path: "readings.zones[name=front,no=2].ok", eq: false}
"""
    front = {"name": "front", "no": 2, "rpm": 7}
    rig = Rig(text)
    first = {"name": "front", "no": 1, "rpm": 5}
    assert rig.take({"zones": [first, front]})["Monitoring/Front"].value == 7.0
    assert rig.take({"zones": [{**front, "ok": False}]})["Monitoring/Front"].status is StatusCode.BadDeviceFailure
    assert rig.take({"zones": [first]})["Monitoring/Front"].status is StatusCode.BadNotConnected


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (("in: readings.rows", "in: reading.rows"), ("each", "readings", "in"), "no channel"),
        (
            ("key: [device_uuid, metric]", "key: [metric]"),
            ("each", "readings", "tag", "Monitoring/<device>/<metric>"),
            "2 fields",
        ),
        (
            ("<device>/<metric>:", "<device>-<metric>:"),
            ("each", "readings", "tag", "Monitoring/<device>-<metric>"),
            "no name",
        ),
        (
            ("Monitoring/<", "Monitor/<"),
            ("each", "readings", "tag", "Monitor/<device>/<metric>"),
            "no group|not a group",
        ),
        (("time: time", "time: 3x"), ("each", "readings", "tag", "Monitoring/<device>/<metric>"), "not a path"),
        (
            ("from: value", "from: value\n        expr: v * 2.0"),
            ("each", "readings", "tag", "Monitoring/<device>/<metric>"),
            "no type",
        ),
        (("  readings:\n    in", "  Readings:\n    in"), ("each", "Readings"), "no name for a rule"),
    ],
)
def test_a_fault_is_told_with_its_place(change: tuple[str, str], where: tuple[str, ...], problem: str) -> None:
    assert change[0] in EACH
    found = faults(EACH.replace(*change), head=HEAD)
    assert [one.path for one in found] == [where]
    assert any(word in found[0].problem for word in problem.split("|"))
