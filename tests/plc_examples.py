"""What examples/plc shows of the demo's extruder: `python -m tests.plc_examples` writes it anew."""

from __future__ import annotations

from pathlib import Path

from bridge.config.site import load_site
from bridge.northbound.opcua.plc.dialect import Dialect
from bridge.runtime.declarations import plc_source
from bridge.runtime.offline import OfflinePlant

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "plc"
MACHINE = "extruder-1"
ENVIRONMENT = {"DEMO_OPERATOR_HASH": "scrypt$16384$8$1$c2FsdA==$aGFzaA==", "DEMO_OPERATOR_PASSWORD": "word"}


def sources() -> dict[Path, str]:
    """The file of each dialect, and what it is to hold."""
    offline = OfflinePlant(load_site([ROOT / "examples" / "demo" / "bridge.yaml"], ENVIRONMENT))
    return {
        FOLDER / f"{MACHINE}.{dialect}": plc_source(offline.plant, offline.faces, MACHINE, dialect, ())
        for dialect in Dialect
    }


if __name__ == "__main__":
    for path, text in sources().items():
        path.write_text(text, encoding="utf-8", newline="\n")
