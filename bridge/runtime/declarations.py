"""What a PLC's programmer declares, for a machine of a plant: of a running bridge, or of files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import NotDeclared, did_you_mean
from bridge.northbound.opcua.plc.dialect import Dialect, declarations
from bridge.northbound.opcua.server import OpcuaServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.model.plant import Plant
    from bridge.ports import Northbound


def plc_source(
    plant: Plant, faces: Mapping[str, Northbound], machine: str, dialect: str, commands: Sequence[str]
) -> str:
    """The declarations. Raises NotDeclared, which says what there is."""
    if dialect not in set(Dialect):
        raise NotDeclared(f'there is no dialect "{dialect}"; expected {" or ".join(Dialect)}')
    face = faces.get("opcua")
    if not isinstance(face, OpcuaServer):
        raise NotDeclared("this bridge has no OPC UA server; northbound: opcua: enabled: true gives it one")
    known = {one.id: one for one in plant.everything()}
    if machine not in known:
        hint = did_you_mean(machine, known) or f"there are {', '.join(known)}"
        raise NotDeclared(f'there is no machine "{machine}"; {hint}')
    return declarations(known[machine], face.server(), Dialect(dialect), commands)
