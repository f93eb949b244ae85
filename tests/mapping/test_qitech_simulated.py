"""The mappings against the simulated machines, which were written from the vendor's code by another hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.config.library import MappingLibrary
from bridge.mapping.compile import CompiledMapping
from bridge.sim.qitech.catalogue import MACHINE_IDS, RELEASES, Release
from bridge.sim.qitech.machines import KINDS, build
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.serde import Ignored
from bridge.sources.qitech.catalogue import channel_of
from tests.mapping.rig import Rig
from tests.mapping.test_qitech_recorded import UNREAD, leaves

SHIPPED = MappingLibrary.load([])
MACHINES = [(release, slug) for release in RELEASES for slug in KINDS if Release.parse(release).supports(slug)]
PASSED_OVER = UNREAD | {
    "machine_identification_unique",  # 2.14 and 2.15: the connected machine cannot be written
    "is_available",
    "flow",  # an Aquapath's state repeats what its live values say
    "temperature",
    "revolutions",
    "mode",  # of cooling; that of the machine is read, as is every other
}


def machine_and_mapping(release: str, slug: str) -> tuple[Machine, CompiledMapping]:
    machine = build(slug, 57922, Release.parse(release), seed=1)
    machine.advance(1.0)
    profile = "3.x" if release.startswith("3") else "2.x"
    identity = {"vendor": 1, "machine": MACHINE_IDS[slug], "serial": 57922, "slug": slug, "profile": profile}
    mapping = SHIPPED.choose(identity)
    assert mapping is not None
    return machine, mapping


def said(machine: Machine) -> Iterator[tuple[str, Any]]:
    """What it says on each channel, that of an empty object left out."""
    machine.namespace = "/machine"
    machine.announce()
    streamed = [(stream.name, stream.data()) for stream in machine.streams()]
    for name, payload in (*machine.outbox, *streamed):
        if payload:
            yield channel_of(name), payload


@pytest.mark.parametrize(("release", "slug"), MACHINES)
def test_every_field_a_simulated_machine_says_is_read(release: str, slug: str) -> None:
    machine, mapping = machine_and_mapping(release, slug)
    for channel, payload in said(machine):
        assert channel in mapping.channels
        paths = [path.keys for spec in mapping.tags for _, path in spec.sources if path.channel == channel]
        read = {keys[:depth] for keys in paths for depth in range(1, len(keys) + 1)}
        assert [keys for keys in leaves(payload) if keys not in read and keys[-1] not in PASSED_OVER] == []


@pytest.mark.parametrize(("release", "slug"), MACHINES)
def test_every_tag_of_a_simulated_machine_is_told_and_none_is_misread(release: str, slug: str) -> None:
    machine, mapping = machine_and_mapping(release, slug)
    rig = Rig(mapping)
    for channel, payload in said(machine):
        rig.see(channel, payload)
    assert [spec.definition.name for spec in mapping.tags if spec.definition.name not in rig.values] == []
    misread = {
        name
        for name, value in rig.values.items()
        if value.status.name in {"BadOutOfRange", "UncertainEngineeringUnitsExceeded"}
    }
    assert misread == set()


@pytest.mark.parametrize(("release", "slug"), [one for one in MACHINES if one[0] in {"2.17", "3.0"}])
def test_every_mutation_of_the_examples_is_one_the_machine_can_read(release: str, slug: str) -> None:
    for example in machine_and_mapping(release, slug)[1].examples:
        if example.given is None:
            machine, sent = machine_and_mapping(release, slug)[0], example.expect_send
            for one in sent if isinstance(sent, list) else [sent]:
                understood(machine, one)


def understood(machine: Machine, mutation: Any) -> None:
    """The machine reads it; it may still refuse to do it now. A panic would be raised."""
    try:
        machine.mutate(mutation)
    except Ignored as ignored:
        assert "cannot go there now" in str(ignored), mutation
