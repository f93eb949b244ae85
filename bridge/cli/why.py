"""`plantbridge why`: where one value comes from, and why it is as it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.examples import examples
from bridge.cli.watch import duration, shown

BY = {
    "connection": "the connection to the machine, see below",
    "waiting": "nothing has been heard yet",
    "bad_when": "the mapping's bad_when",
    "uncertain_when": "the mapping's uncertain_when",
    "quality": "the vendor's own quality, by the mapping's quality",
    "max_age": "the mapping's max_age",
    "range": "the mapping's range",
    "absent": "the payload has no value",
    "type": "the payload's value does not fit the tag",
    "enum": "the payload's value is not in the mapping's enum",
}
"""What gave a value its status, in words."""


@click.command(
    "why",
    epilog=examples(
        "plantbridge why extruder-1.Monitoring.Pressure --state-dir state",
        "plantbridge why 'ns=2;s=extruder-1.Monitoring.Pressure' --state-dir state",
        "plantbridge why acme/essen/extrusion/extruder-1/Monitoring/Pressure --state-dir state",
        "plantbridge why extruder-1.Monitoring.Pressure --state-dir state --json | jq .explain.payload",
    ),
)
@access_options
@click.argument("tag")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(tag: str, state_dir: Path | None, url: str | None, token: str | None, as_json: bool) -> None:
    """Say where one value of a running bridge comes from, and why it is as it is.

    TAG is its id, or its address on any face: a NodeId, a topic, a Sparkplug metric. Told are: the source and what it
    said last; the part of that payload the value was taken from, without secrets; each step of the mapping; whether the
    deadband held it back; what gave it its status; and what each face said of it, or why nothing.

    Exit codes: 0 told; 1 there is no such tag, or the bridge does not answer; 2 wrong command line.
    """
    client = AdminClient(Access.found(url, token, state_dir))
    told = asyncio.run(client.get("/api/v1/why", {"tag": tag}))
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    for line in lines(told):
        click.echo(line)


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """A tag's explanation, for a person."""
    why = told["explain"]
    unit = f" {told['unit']}" if told["unit"] else ""
    yield f"{told['id']} = {shown(told['value'])}{unit}"
    yield from _quality(told, why.get("quality"))
    if "about" in why:
        yield f"what       {why['about']}"
    if "source" in why:
        yield from _source(why)
        yield from _value(why)
    for name, face in why["faces"].items():
        yield from _face(name, face)


def _quality(told: Mapping[str, Any], quality: Mapping[str, Any] | None) -> Iterator[str]:
    since = f", since {told['since']}" if told["since"] else ""
    yield f"quality    {told['status']}{since}; of {told['time']}, {duration(told['age'])} ago"
    if told["reason"]:
        yield f"           {told['reason']}"
    if quality is not None and quality["by"]:
        yield f"           decided by: {BY.get(quality['by'], quality['by'])}"


def _source(why: Mapping[str, Any]) -> Iterator[str]:
    kind = f" ({why['source_type']})" if why["source_type"] else ""
    yield f"source     {why['source']}{kind}, machine {why['source_machine']}: {why['connection']}"
    for word in ("reason", "advice"):
        if why[word]:
            yield f"           {why[word]}"
    if why["next_try_in"] is not None:
        yield f"           next try in {duration(why['next_try_in'])}"
    heard = why["observation"]
    if heard is None:
        yield f"heard      nothing yet on the channel {why['channel']}"
    else:
        origin = f": {heard['origin']}" if heard["origin"] else ""
        age = duration(heard["age"])
        yield f"heard      {heard['channel']}, {heard['how']}{origin}; {heard['received']}, {age} ago"
    fresh = why["freshness"]
    if fresh is not None and fresh["uncertain_after"] is not None:
        by = f", or {fresh['alive_by']} speaks" if fresh["alive_by"] else ""
        limits = f"uncertain after {duration(fresh['uncertain_after'])}, bad after {duration(fresh['bad_after'])}"
        yield f"freshness  {fresh['state']}; {limits} of silence{by}"
    elif fresh is not None:
        yield f"freshness  {fresh['state']}; it comes when it changes: silence says nothing"


def _value(why: Mapping[str, Any]) -> Iterator[str]:
    yield f"mapping    {why['mapping']}"
    for path in why["paths"]:
        yield f"path       {path['path']}: {'taken from here' if path['chosen'] else path['found']}"
    if why["payload"] is not None:
        for line in json.dumps(why["payload"], indent=2, ensure_ascii=False).splitlines():
            yield f"           {line}"
    for step in why["steps"]:
        yield f"step       {step['rule']} → {shown(step['result'])}"
    if why["change"]:
        yield f"told       {why['change']}"


def _face(name: str, face: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name:<10} {face['address']}"
    if face["status"] is not None:
        late = "" if face["is_current"] else "; a newer one is on its way"
        yield f"           said {shown(face['value'])}, {face['status']}, of {face['time']}{late}"
    if face["readers"] is not None:
        yield f"           {face['readers'] or 'no'} subscription{'' if face['readers'] == 1 else 's'} to it"
    if face["why_not"]:
        yield f"           not told: {face['why_not']}"
