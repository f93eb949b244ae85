from __future__ import annotations

import pytest

from bridge.mapping.examples import run_examples
from tests.mapping.rig import Found, compiled

TAGS = """
tags:
  Monitoring/P: {from: live.p, type: Double, bad_when: {path: state.broken, eq: true, status: BadSensorFailure}}
  Monitoring/Q: {from: live.q, type: Double, uncertain_when: {path: live.q, eq: 0, for: 5s}}
  Monitoring/At: {from: live.at, type: DateTime}
  Setpoints/S: {from: state.s, type: Double, range: [0, 44], write: {send: {S: $value}}}
  Setpoints/N: {from: state.n, type: Int32, write: {send: {N: $value}}}
  Setpoints/M: {from: state.m, enum: {Standby: 0, Heat: 1}, write: {send: {M: $value}}}
commands:
  Pid: {args: {Kp: [0, 100], Zone: {enum: [front, back]}}, send: {pid: {kp: $Kp, zone: $Zone}}}
  Book: {args: {Who: {type: String, person: true}, N: {type: Double, default: 1}}, send: {who: $Who, n: $N}}
  Load: {set: {Setpoints/S: $Speed, Setpoints/M: Standby, Setpoints/N: 3}, args: {Speed: {default: 2}}}
examples:
"""


def told(example: str) -> list[Found]:
    found: list[Found] = []
    run_examples(compiled(f"{TAGS}  - {example}\n"), lambda *fault: found.append(Found(*fault)))
    return found


@pytest.mark.parametrize(
    "example",
    [
        "{given: {channel: live, payload: {p: 5}}, expect: {Monitoring/P: 5}}",
        "{given: {channel: live, payload: {p: null}}, expect: {Monitoring/P: {status: BadNoData}}}",
        (
            "{given: [{channel: state, payload: {broken: true}}, {channel: live, payload: {p: 5}}], "
            "expect: {Monitoring/P: {status: BadSensorFailure}}}"
        ),
        (
            "{given: [{channel: live, payload: {q: 0}}, {channel: live, payload: {q: 0}, after: 5s}], "
            "expect: {Monitoring/Q: {status: UncertainSubNormal, value: 0}}}"
        ),
        "{given: {channel: live, payload: {at: 1767225600500}}, expect: {Monitoring/At: '2026-01-01T00:00:00.5Z'}}",
        "{given: {channel: state, payload: {m: Heat}}, expect: {Setpoints/M: 1, Setpoints/MText: Heat}}",
        "{write: {Setpoints/S: 44}, expect_send: {S: 44}}",
        "{write: {Setpoints/M: Heat}, expect_send: {M: Heat}}",
        "{call: {Pid: {Kp: 1, Zone: front}}, expect_send: {pid: {kp: 1, zone: front}}}",
        "{call: {Book: {Who: anna@acme.example}}, expect_send: {who: anna@acme.example, n: 1.0}}",
        "{call: {Load: {Speed: 44}}, expect_send: [{S: 44}, {M: Standby}, {N: 3}]}",
        "{call: {Load: {}}, expect_send: [{S: 2.0}, {M: Standby}, {N: 3}]}",
    ],
)
def test_true_example_tells_nothing(example: str) -> None:
    assert told(example) == []


@pytest.mark.parametrize(
    ("example", "path", "problem", "expected"),
    [
        (
            "{given: {channel: live, payload: {p: 5}}, expect: {Monitoring/P: 6}}",
            ("expect", "Monitoring/P"),
            "is 5.0",
            "6",
        ),
        (
            "{given: {channel: live, payload: {p: 5}}, expect: {Monitoring/P: {status: BadNoData}}}",
            ("expect", "Monitoring/P"),
            "is 5.0",
            "BadNoData",
        ),
        (
            "{given: {channel: live, payload: {p: null}}, expect: {Monitoring/P: 5}}",
            ("expect", "Monitoring/P"),
            "is BadNoData (There is none now (null))",
            "5",
        ),
        (
            "{given: {channel: live, payload: {q: 0}}, expect: {Monitoring/Q: {status: UncertainSubNormal}}}",
            ("expect", "Monitoring/Q"),
            "is 0.0",
            "UncertainSubNormal",
        ),
        (
            "{given: {channel: live, payload: {p: 1}}, expect: {Monitoring/P: true}}",
            ("expect", "Monitoring/P"),
            "is 1.0",
            "True",
        ),
        (
            "{given: {channel: live, payload: {}}, expect: {Setpoints/S: 5}}",
            ("expect", "Setpoints/S"),
            "did not get a value",
            "5",
        ),
        (
            "{given: {channel: live, payload: {}}, expect: {Monitoring/PP: 5}}",
            ("expect", "Monitoring/PP"),
            "there is no such tag",
            "tag of this mapping",
        ),
        ("{given: {channel: lvie, payload: {}}, expect: {}}", ("given",), "'lvie' is no channel", "live, state"),
        ("{write: {Setpoints/S: 44}, expect_send: {S: 45}}", ("expect_send",), "{'S': 44} would be sent", "{'S': 45}"),
        ("{write: {Setpoints/S: 45}, expect_send: {S: 45}}", ("write", "Setpoints/S"), "45 is out of range", "0 to 44"),
        ("{write: {Setpoints/S: hot}, expect_send: {S: hot}}", ("write", "Setpoints/S"), "expected a number", "Double"),
        ("{write: {Setpoints/N: 1.5}, expect_send: {N: 1.5}}", ("write", "Setpoints/N"), "whole number", "Int32"),
        (
            "{write: {Setpoints/M: Heet}, expect_send: {M: Heet}}",
            ("write", "Setpoints/M"),
            "'Heet' is not accepted",
            "Standby, Heat",
        ),
        ("{write: {Monitoring/P: 5}, expect_send: {}}", ("write", "Monitoring/P"), "is no set point", "write:"),
        ("{call: {Pdi: {}}, expect_send: {}}", ("call", "Pdi"), "is no command", "command of this mapping"),
        ("{call: {Pid: {Kp: 1}}, expect_send: {}}", ("call", "Pid"), "the argument Zone is missing", "Kp, Zone"),
        (
            "{call: {Pid: {Kp: 101, Zone: front}}, expect_send: {pid: {kp: 101, zone: front}}}",
            ("call", "Pid", "Kp"),
            "101 is out of range",
            "0 to 100",
        ),
        (
            "{call: {Pid: {Kp: 1, Zone: frond}}, expect_send: {pid: {kp: 1, zone: frond}}}",
            ("call", "Pid", "Zone"),
            "'frond' is not accepted",
            "front, back",
        ),
        (
            "{call: {Pid: {Kp: 1, Zone: front, Kx: 2}}, expect_send: {pid: {kp: 1, zone: front}}}",
            ("call", "Pid", "Kx"),
            "is no argument",
            "Kp, Zone",
        ),
        (
            "{call: {Load: {Speed: 45}}, expect_send: [{S: 45}, {M: Standby}, {N: 3}]}",
            ("call", "Load", "Speed"),
            "45 is out of range",
            "0 to 44",
        ),
        (
            "{call: {Load: {Speed: 1}}, expect_send: [{M: Standby}, {S: 1}, {N: 3}]}",
            ("expect_send",),
            "[{'S': 1}, {'M': 'Standby'}, {'N': 3}] would be sent",
            "[{'M': 'Standby'}, {'S': 1}, {'N': 3}]",
        ),
    ],
)
def test_false_example_is_told_at_its_place(example: str, path: tuple[str, ...], problem: str, expected: str) -> None:
    (found,) = told(example)
    assert found.path == ("examples", 0, *path)
    assert problem in found.problem
    assert expected in found.expected


def test_examples_are_counted() -> None:
    assert (
        run_examples(compiled(f"{TAGS}  - {{write: {{Setpoints/S: 1}}, expect_send: {{S: 1}}}}\n"), lambda *_: None)
        == 1
    )
