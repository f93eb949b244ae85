"""open62541 by its Python binding o6, with the same variables and words as benchmarks/opcua_server.py, unencrypted.

Run by the Python of an environment of its own that has o6 (benchmarks --open62541 PYTHON).
Arguments: TAGS PORT FOLDER none.
Writing goes through the binding's Python, a value at a time: of its processor time only the reads are open62541's.
"""

import json
import sys
import threading
import time
from pathlib import Path

import o6

PER_MACHINE = 100


def change(server: o6.Server, ids: list[o6.NodeId], hz: float, ended: threading.Event) -> None:
    while not ended.wait(1 / hz):
        server.write(dict.fromkeys(ids, time.time()))


def main(tags: str, port: str, folder: str, _: str) -> None:
    server = o6.Server(port=int(port))
    with server:
        ids = []
        for number in range(int(tags)):
            node_id = o6.NodeId(f"ns=1;s=t{number}")
            server.addVariable(f"t{number}", server.objectsNode, 0.0, nodeId=node_id)
            ids.append(node_id)
        (Path(folder) / "ids.json").write_text(json.dumps([f"ns=1;s=t{number}" for number in range(int(tags))]))
        say({"ready": True})
        ended = threading.Event()
        for words in sys.stdin:
            ended.set()
            ended = threading.Event()
            threading.Thread(target=change, args=(server, ids, float(words.split()[1]), ended), daemon=True).start()
            say({"changing": words.split()[1]})


def say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
