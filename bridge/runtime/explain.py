"""Why a tag is as it is: from the vendor's payload to what each face said of it. Made when asked, never kept.

source, observation -> payload around the path -> paths, steps -> deadband -> quality, freshness -> faces
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.mapping.rows import RowTag
from bridge.mapping.trace import Trace, around, change, trace, verdict
from bridge.model.payload_path import MISSING, placed
from bridge.model.plant import BRIDGE_MACHINE_ID, ITEM_STATE
from bridge.ports import Originator, Told, Witness
from bridge.runtime.redaction import Known, Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bridge.mapping.compile import CompiledMapping
    from bridge.mapping.tag_plan import TagPlan
    from bridge.mapping.tag_spec import TagSpec
    from bridge.model.observation import Observation
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.ports import Northbound, Source, SourceHealth
    from bridge.runtime.bridge import Bridge
    from bridge.runtime.machine import MachineState, PartState

Payload = dict[str, Any]

OF_THE_BRIDGE = {
    "Connection": "the bridge's own words about the connection to the machine",
    "Commands": "what the bridge was told to do with the machine",
    "Identification": "what the source, and machines: in bridge.yaml, say of the machine",
    "Job": "what the bridge keeps for the machine until its vendor takes it",
    "Alarms": "counted by the bridge from the machine's alarms",
}


def explain(bridge: Bridge, tag: Tag, health: SourceHealth | None) -> Payload:
    """Everything that made a tag what it is; `health` is that of its source, if it has one.

    Shape: {"owner", "about"} of the bridge's own tags; else {"owner", "part", "source", "source_type",
    "source_machine", "mapping", "connection", "reason", "advice", "next_try_in", "channel", "from", "observation",
    "payload", "paths", "steps", "change", "quality", "freshness"}; always "faces". Nothing of it is secret.
    """
    faces = {name: _face(bridge, face, tag) for name, face in bridge.faces.items()}
    found = _plan(bridge.keeper.states().get(tag.machine), tag)
    if found is None:
        own = "the bridge itself" if tag.machine == BRIDGE_MACHINE_ID else OF_THE_BRIDGE.get(tag.group, "the bridge")
        return {"owner": "bridge", "about": own, "faces": faces}
    part, plan = found
    told = {
        "owner": tag.definition.owner.value,
        **_source(part, health),
        **_vendor(bridge, part, plan, bridge.table.read(tag)),
        "faces": faces,
    }
    role = _role(tag, plan)
    return {"about": role, **told} if role else told


def source_of(bridge: Bridge, tag: Tag) -> str | None:
    """The source a tag comes from."""
    found = _plan(bridge.keeper.states().get(tag.machine), tag)
    return None if found is None else found[0].part.source


def _plan(state: MachineState | None, tag: Tag) -> tuple[PartState, TagPlan] | None:
    for part in state.parts if state is not None else ():
        plan = part.projection.plan_of(tag.slot) if part.projection is not None else None
        if plan is not None:
            return part, plan
    return None


def _role(tag: Tag, plan: TagPlan) -> str:
    """What the tag is to the rule that makes it, where it is not its value."""
    spec = plan.spec
    if tag.slot == plan.slot:
        return ""
    if tag.name == ITEM_STATE:
        return f"item_state, made from {spec.definition.name}"
    if tag.slot == plan.text_slot:
        return f"the text of {spec.definition.name}"
    key = next((key for alarm, key in spec.alarms if alarm.name == tag.name), "alarm")
    limit = getattr(spec.rule.limits, key, None)
    return f"the alarm of {spec.definition.name}" + (f": {key} at {limit:g}" if limit is not None else "")


def _source(part: PartState, health: SourceHealth | None) -> Payload:
    return {
        "part": part.part.name,
        "source": part.part.source,
        "source_type": health.type if health else None,
        "source_machine": part.part.source_machine,
        "mapping": part.part.mapping,
        "connection": part.state.name,
        "reason": part.reason,
        "advice": part.advice,
        "next_try_in": health.next_try_in if health else None,
    }


def _vendor(bridge: Bridge, part: PartState, plan: TagPlan, current: DataValue) -> Payload:
    spec, projection = plan.spec, part.projection
    assert projection is not None  # noqa: S101 - there is a plan
    payloads = projection.payloads_of(plan)
    traced = trace(spec, payloads)
    chosen = next((look.path for look in traced.looks if look.chosen), traced.looks[0].path)
    sources = _as_written(projection.mapping, spec).sources
    redactor = Redactor(Known.of(bridge.site.file, bridge.site.people, bridge.secrets), keep_hosts=True)
    heard = part.last.get(chosen.channel) or part.last.get(plan.channel)
    payload = payloads.get(chosen.channel)
    keys = placed(chosen.keys, payload)
    return {
        "channel": plan.channel,
        "from": [str(path) for _, path in sources],
        "observation": None if heard is None else _observation(bridge, part, heard, redactor),
        "payload": None if heard is None else redactor.tree({chosen.channel: around(payload, keys)}),
        "paths": [
            {"path": str(path), "found": look.found, "chosen": look.chosen}
            for (_, path), look in zip(sources, traced.looks, strict=True)
        ],
        "steps": _steps(redactor, keys, traced),
        "deadband": spec.deadband or None,
        "change": _change(plan, traced, heard),
        "quality": _quality(part, plan, traced, current),
        "freshness": _freshness(bridge, part, plan),
    }


def _as_written(mapping: CompiledMapping, spec: TagSpec) -> TagSpec:
    """The tag with the paths of its mapping; of a chosen row's tag they begin in that row."""
    return next((tag for tag in mapping.tags if tag.definition is spec.definition), spec)


def _observation(bridge: Bridge, part: PartState, heard: Observation, redactor: Redactor) -> Payload:
    runner = bridge.runners.get(part.part.source)
    now = bridge.clock.now()
    return {
        "channel": heard.channel,
        "how": "asked for" if heard.requested_at is not None else "sent by the vendor",
        "origin": "" if runner is None else redactor.text(_origin(runner.source, heard)),
        "received": heard.received,
        "age": round((now - heard.received).total_seconds(), 3),
        "source_time": heard.source_time,
        "period": heard.period,
    }


def _origin(source: Source, heard: Observation) -> str:
    return source.origin(heard) if isinstance(source, Originator) else ""


def _steps(redactor: Redactor, keys: tuple[str | int, ...], traced: Trace) -> list[Payload]:
    """What each rule made; a field whose name says secret stays one whatever the rules make of it."""
    name = next((key for key in reversed(keys) if isinstance(key, str)), "")
    steps = [{"rule": step.rule, "result": redactor.named(name, step.result)} for step in traced.steps]
    return [*steps, {"rule": "refused", "result": redactor.text(traced.refused)}] if traced.refused else steps


def _change(plan: TagPlan, traced: Trace, heard: Observation | None) -> str:
    if heard is None:
        return "Nothing has come on this channel yet"
    if isinstance(plan, RowTag) and plan.row is MISSING:
        return "No row of the list has said so yet"
    return "" if traced.refused else change(plan, traced.value)


def _quality(part: PartState, plan: TagPlan, traced: Trace, current: DataValue) -> Payload:
    watch = part.watch(plan.channel)
    if watch is not None and watch.verdict is not None:
        by = "connection"
    elif watch is not None and watch.heard is None:
        by = "waiting"
    else:
        by = verdict(plan.spec, traced, current)
    return {"status": current.status.name, "reason": current.reason, "since": current.since, "by": by}


def _freshness(bridge: Bridge, part: PartState, plan: TagPlan) -> Payload | None:
    watch = part.watch(plan.channel)
    if watch is None:
        return None
    keeper = part.watch(watch.rule.alive_by or "")
    bounds = keeper if keeper is not None and watch.period is None else watch
    stale, bad, heard, alive_by = bounds.stale_after, bounds.bad_after, watch.heard, watch.rule.alive_by
    if isinstance(plan, RowTag) and plan.stale_after is not None:
        stale, bad, heard, alive_by = plan.stale_after, plan.bad_after or watch.bad_after, plan.heard or None, None
    return {
        "state": watch.phase.value,
        "silent_for": None if heard is None else round(bridge.clock.monotonic() - heard, 3),
        "period": watch.period,
        "alive_by": alive_by,
        "uncertain_after": stale,
        "bad_after": None if stale is None else bad,
    }


def _face(bridge: Bridge, face: Northbound, tag: Tag) -> Payload:
    told = _told(bridge, face, tag)
    said = told.value
    payload: Payload = {"address": face.address(tag), "why_not": told.why_not, "readers": told.readers}
    if said is None:
        return {**payload, "value": None, "status": None, "time": None, "is_current": False}
    is_current = said is bridge.table.read(tag)
    return {**payload, **_said(said), "is_current": is_current}


def _told(bridge: Bridge, face: Northbound, tag: Tag) -> Told:
    if face.name not in bridge.running_faces:
        return Told(why_not="this face does not run")
    return face.told(tag) if isinstance(face, Witness) else Told()


def _said(said: DataValue) -> Mapping[str, str | float | bool | datetime | None]:
    return {"value": said.value, "status": said.status.name, "time": said.source_timestamp}
