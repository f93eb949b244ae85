"""A first configuration: commented, complete, and without faults; secrets in files of their own. Pure."""

from __future__ import annotations

from typing import NamedTuple

SECRET, OPEN = 0o600, 0o644
PLACEHOLDER = "change-me"
SCHEMA = "bridge.schema.json"
CONFIG = "bridge.yaml"


class Written(NamedTuple):
    """A file to be written: its path below the folder, its text, who may read it."""

    path: str
    text: str
    mode: int = OPEN


class Starter(NamedTuple):
    """What the person said."""

    name: str
    enterprise: str
    site: str
    vendors: tuple[str, ...]


class Secret(NamedTuple):
    """A word the person must put somewhere, and where it comes from."""

    path: str
    origin: str


SOURCES = {
    "qitech": """\
  panel-1:
    type: qitech
    url: https://192.168.10.20          # the panel's address; http://…:3001 only where it was opened
    username: machine                   # always "machine" on a QiTech panel
    password: ${file:secrets/qitech.password}
    # ca_file: qitech-root.crt          # the panel's root certificate (Caddy's root.crt): copy it here and name it
    # writes: true                      # allow commands to its machines; off by default
    # allow_hazards: [heat, motion]     # of heat, motion, power, protection, loses_data, loses_tension
""",
    "quantiix": """\
  quantiix:
    type: quantiix
    # url: https://…/api/v1             # the published address is in clear text: ask Quantiix for https
    email: bridge@example.com           # user of the account
    password: ${file:secrets/quantiix.password}
    requests_per_minute: 100            # the account's limit; a fifth of it stays unused as reserve
    share: 1.0                          # less where another bridge or dashboard uses the same account
    state_period: 60s
    activity_period: 10min
""",
    "trackmymachines": """\
  trackmymachines:
    type: trackmymachines
    events_url: https://your-org.trackmymachines.app        # the vendor has two hosts: events here,
    step_events_url: https://your-org.trackmymachines.com   # step events there; one key for both
    api_key: ${file:secrets/trackmymachines.key}
    period: 15s                         # one request for the whole organisation
    # writes: true                      # allow StartStep and FinishStep; the key must be a read-write one
""",
    "iotistica": """\
  iotistica:
    type: iotistica
    rest:
      url: https://iotistica.example.com
      username: bridge
      password: ${file:secrets/iotistica.password}
    # mqtt: {broker: {host: broker.example.com, port: 8883, tls: true}}   # telemetry as agents publish it
""",
}
SECRETS = {
    "qitech": Secret("secrets/qitech.password", "the word credentials.sh prints on the panel"),
    "quantiix": Secret("secrets/quantiix.password", "the password of the Quantiix account"),
    "trackmymachines": Secret("secrets/trackmymachines.key", "an API key made in TrackMyMachines"),
    "iotistica": Secret("secrets/iotistica.password", "the password of the Iotistica login"),
}
MACHINES = {
    "qitech": "{id: extruder-1, area: extrusion, line: line-1, source: panel-1, "
    "machine: {slug: extruder_v1, serial: 57922}}",
    "quantiix": "{id: lathe-1, area: machining, source: quantiix, machine: {unique_id: MACHINE_001}}",
    "trackmymachines": "{id: mill-1, area: machining, source: trackmymachines, machine: {foreign_id: MACHINE_001}}",
    "iotistica": "{id: agent-1, area: hall, source: iotistica, machine: {agent: d9069bba-f80e-424a-9c4c-583ea4deb9a4}}",
}

_TEXT = """\
# yaml-language-server: $schema=./{schema}
#
# The first configuration of {name}: change what is yours, then
#
#   plantbridge check {config}             # every fault at once, no network needed
#   plantbridge doctor {config}            # is everything there that it depends on?
#   plantbridge run --simulate {config}    # the same, with simulated machines
#   plantbridge run {config}
#
# Values may hold ${{VAR}}, ${{VAR:-default}}, ${{VAR:?message}} and ${{file:path}}; secrets belong there, not here.
version: 1

bridge:
  name: {name}                 # Sparkplug edge node id, level of the bridge's own topics; keep it for ever
  enterprise: {enterprise}     # ISA-95 levels: they become the first levels of every topic
  site: {site}
  # time_zone: Europe/Berlin   # needed by what counts by days and shifts
  state_directory: state       # what must survive a restart: certificates, journal, found machines, admin token

sources:
{sources}
# Machines that a source shows appear by themselves as <source>-<type>-<serial>. Name them here for an id and a place of
# your own; with `discovery: adopt` they wait until you do. `plantbridge discover` prints what to write here.
discovery: publish
machines: []
{machines}
northbound:
  opcua:
    host: 127.0.0.1            # only programs on this computer; 0.0.0.0 for every network, then say hosts as well
    port: 4840
    # hosts: [bridge-1.example.com, 192.168.10.5]   # what clients call this server: goes into its certificate, once
    users:                     # `plantbridge users add NAME {config}` writes more
      - {{name: scada, password_hash: "${{file:secrets/scada.hash}}", role: Observer}}
  sparkplug: {{broker: {{host: 127.0.0.1, port: 1883}}}}
  uns: {{broker: {{host: 127.0.0.1, port: 1883}}}}
  status: {{host: 127.0.0.1, port: 8080}}   # health, metrics and the status page; the token is in state/admin.token

broker:
  enabled: true                # a small MQTT broker inside the bridge; false where you have one: write its host above
  host: 127.0.0.1
  port: 1883
"""


def starter(said: Starter, password: str, password_hash: str, schema: str) -> tuple[list[Written], list[Secret]]:
    """The files, and what the person still has to put into them.

    `password` and its salted hash are of the OPC UA user scada; `schema` is what editors check the file with.
    """
    sources = "".join(SOURCES[vendor] for vendor in said.vendors)
    machines = "".join(f"# - {MACHINES[vendor]}\n" for vendor in said.vendors)
    text = _TEXT.format(
        schema=SCHEMA,
        config=CONFIG,
        name=said.name,
        enterprise=said.enterprise,
        site=said.site,
        sources=sources,
        machines=machines,
    )
    needed = [SECRETS[vendor] for vendor in said.vendors]
    return [
        Written(CONFIG, text),
        Written(SCHEMA, schema),
        Written(".gitignore", "secrets/\nstate/\nstate-simulated/\n"),
        Written("secrets/scada.password", password + "\n", SECRET),
        Written("secrets/scada.hash", password_hash + "\n", SECRET),
        *(Written(secret.path, PLACEHOLDER + "\n", SECRET) for secret in needed),
    ], needed
