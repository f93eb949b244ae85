"""The test and minimal machines: I/O terminals with hardly any logic. 2.x only (facts section 5.8).

Most send their state again and again, have no live values, and tag their mutations adjacently.
"""

from __future__ import annotations

from math import sin
from typing import Any

from bridge.sim.qitech.machines.base import Handlers, Machine, Stream, clamp
from bridge.sim.qitech.serde import (
    Decoder,
    Ignored,
    Panic,
    adjacent,
    boolean,
    external,
    f64,
    i16,
    i32,
    struct,
    text,
    u8,
    usize,
)


class Terminal(Machine):
    """A machine that repeats its state 30 times a second."""

    def streams(self) -> tuple[Stream, ...]:
        """State only."""
        return (Stream(self.state_name, 30.0, self.shown_state),)

    def read_variant(self, data: Any) -> tuple[str, Any]:
        """{"action": ..., "value": ...}."""
        return adjacent("action", "value")(data)


class Switches(Terminal):
    """Digital outputs, each and all of them."""

    count = 4
    field = "led_on"
    one = "SetLed"
    every = "SetAllLeds"

    def reset(self) -> None:
        """All off."""
        self.outputs = [False] * self.count

    def state(self) -> dict[str, Any]:
        """One array of bool."""
        return {self.field: list(self.outputs)}

    def handlers(self) -> Handlers:
        """An index beyond the array is ignored."""
        return {
            self.one: (struct(index=usize, on=boolean), lambda content: self.switch(content["index"], content["on"])),
            self.every: (struct(on=boolean), lambda content: self.switch_all(content["on"])),
        }

    def switch(self, index: int, on: bool) -> None:
        """Set one output."""
        if index >= self.count:
            raise Ignored(f"no output {index}")
        self.outputs[index] = on
        self.announce()

    def switch_all(self, on: bool) -> None:
        """Set all outputs."""
        self.outputs = [on] * self.count
        self.announce()


class TestMachine(Switches):
    """test_machine (51)."""


class WagoDigitalOut(Switches):
    """wago_do_test_machine (14)."""

    count = 8


class Wago501(Switches):
    """wago_750_501_test_machine (66)."""

    count = 2
    field = "outputs"
    one = "SetOutput"
    every = "SetAllOutputs"


class Wago531(Wago501):
    """wago_750_531_machine (71)."""

    count = 4
    field = "outputs_on"


class Ip20(Wago501):
    """ip20_test_machine (52): inputs as live values at 10 Hz. An input follows the output of its number."""

    count = 8

    def live_values(self) -> dict[str, Any]:
        """Eight bools."""
        return {"inputs": list(self.outputs)}

    def streams(self) -> tuple[Stream, ...]:
        """State at 30 Hz and live values at 10 Hz."""
        return (*super().streams(), Stream(self.live_name, 10.0, self.shown_live_values))


class Wago553(Terminal):
    """wago_750_553_machine (70): four current outputs, 0 to 1 as 4 to 20 mA."""

    def reset(self) -> None:
        """All 0."""
        self.outputs = [0.0] * 4

    def state(self) -> dict[str, Any]:
        """Fractions and mA."""
        return {"outputs": list(self.outputs), "outputs_ma": [4.0 + 16.0 * output for output in self.outputs]}

    def handlers(self) -> Handlers:
        """Values are clamped."""
        return {
            "SetOutput": (
                struct(index=usize, value=f64),
                lambda content: self._set(content["index"], content["value"]),
            ),
            "SetAllOutputs": (struct(value=f64), lambda content: self._set(None, content["value"])),
        }

    def _set(self, index: int | None, value: float) -> None:
        if index is not None and index >= 4:
            raise Ignored(f"no output {index}")
        for i in range(4) if index is None else (index,):
            self.outputs[i] = clamp(value, 0.0, 1.0)
        self.announce()


class Wago8ch(Terminal):
    """wago_8ch_io_test_machine (65). An index above 7 ends the process."""

    def reset(self) -> None:
        """All off."""
        self.outputs = [False] * 8

    def state(self) -> dict[str, Any]:
        """Inputs are wired to the outputs."""
        return {"digital_input": list(self.outputs), "digital_output": list(self.outputs)}

    def handlers(self) -> Handlers:
        """SetOutput only."""
        return {"SetOutput": (struct(index=usize, value=boolean), self._set)}

    def _set(self, content: dict[str, Any]) -> None:
        if content["index"] > 7:
            raise Panic(f"index out of bounds: the len is 8 but the index is {content['index']}")
        self.outputs[content["index"]] = content["value"]
        self.announce()


class Inputs(Terminal):
    """Digital inputs that count in binary, one step a second."""

    count = 8
    field = "inputs"

    def state(self) -> dict[str, Any]:
        """One array of bool."""
        return {self.field: [bool(int(self.uptime) >> i & 1) for i in range(self.count)]}


class Wago430(Inputs):
    """wago_750_430_di_machine (67)."""


class DigitalInput(Inputs):
    """digital_input_test_machine (64): its inputs are called led_on."""

    count = 4
    field = "led_on"


class Wago460(Terminal):
    """wago_750_460_machine (68): four thermometers, the last one not connected."""

    def state(self) -> dict[str, Any]:
        """°C, null with an error."""
        temperatures = [20.0 + i + sin(self.uptime / 20.0 + i) for i in range(3)]
        return {"temperatures": [*temperatures, None], "errors": [False, False, False, True]}


class Stepper(Terminal):
    """test_machine_stepper (55)."""

    def reset(self) -> None:
        """Stopped."""
        self.target_speed = 0
        self.enabled = False
        self.freq = 0
        self.acc_freq = 0

    def state(self) -> dict[str, Any]:
        """Plain integers."""
        return {
            "target_speed": self.target_speed,
            "enabled": self.enabled,
            "freq": self.freq,
            "acc_freq": self.acc_freq,
        }

    def handlers(self) -> Handlers:
        """Each content is an object with one key."""
        return {
            "SetTargetSpeed": self.keyed("target", i16, "target_speed"),
            "SetEnabled": self.keyed("enabled", boolean, "enabled"),
            "SetFreq": self.keyed("factor", u8, "freq"),
            "SetAccFreq": self.keyed("factor", u8, "acc_freq"),
        }

    def keyed(self, key: str, decoder: Decoder, attribute: str) -> tuple[Decoder, Any]:
        """A handler for {"<key>": value}."""
        return struct(**{key: decoder}), lambda content: self.setter(attribute)(content[key])


class Bottlecaps(Stepper):
    """bottlecaps_test_machine (57): a stepper with inputs that can be overridden; its state comes at 60 Hz."""

    def reset(self) -> None:
        """Stopped, nothing overridden."""
        super().reset()
        self.override_inputs = [False] * 8

    def streams(self) -> tuple[Stream, ...]:
        """State at 60 Hz."""
        return (Stream(self.state_name, 60.0, self.shown_state),)

    def state(self) -> dict[str, Any]:
        """Inputs, overrides and the stepper."""
        stepper = {f"stepper_{name}": value for name, value in super().state().items()}
        inputs = [bool(int(self.uptime) >> i & 1) for i in range(8)]
        return {"inputs": inputs, "override_inputs": list(self.override_inputs), **stepper}

    def handlers(self) -> Handlers:
        """The stepper's with another prefix, and SetOverrideInput."""
        return {
            "SetOverrideInput": (struct(index=usize, on=boolean), self._override),
            "SetStepperTargetSpeed": self.keyed("target", i16, "target_speed"),
            "SetStepperEnabled": self.keyed("enabled", boolean, "enabled"),
            "SetStepperFreq": self.keyed("factor", u8, "freq"),
            "SetStepperAccFreq": self.keyed("factor", u8, "acc_freq"),
        }

    def _override(self, content: dict[str, Any]) -> None:
        if content["index"] >= 8:
            raise Ignored(f"no input {content['index']}")
        self.override_inputs[content["index"]] = content["on"]
        self.announce()


class Motor(Terminal):
    """motor_test_machine (17): {"type": ..., "payload": ...}."""

    def reset(self) -> None:
        """Off."""
        self.enabled = False
        self.velocity = 0

    def read_variant(self, data: Any) -> tuple[str, Any]:
        """Its own pair of tags."""
        return adjacent("type", "payload")(data)

    def state(self) -> dict[str, Any]:
        """Two plain values."""
        return {"motor_enabled": self.enabled, "motor_velocity": self.velocity}

    def handlers(self) -> Handlers:
        """SetMotorOff exists and does nothing."""
        return {
            "SetMotorOn": (boolean, self.setter("enabled")),
            "SetMotorVelocity": (i32, self.setter("velocity")),
            "SetMotorOff": (lambda _: None, lambda _: None),
        }


class Measurement(Machine):
    """analog_input_test_machine (53): no state, no live values in REST; a rate of 0 or less ends the process."""

    state_name = "MeasurementRateHz"

    def reset(self) -> None:
        """1 Hz."""
        self.rate_hz = 1

    def state(self) -> dict[str, Any]:
        """What the event of its rate says."""
        return {"MeasurementRateHz": float(self.rate_hz)}

    def shown_rest_state(self) -> dict[str, Any] | None:
        """Null."""
        return None

    def measured(self) -> dict[str, Any]:
        """A current in A, and a time stamp as text."""
        return {"Measurement": [0.012 + 0.004 * sin(self.uptime), str(int(self.uptime * 1000))]}

    def streams(self) -> tuple[Stream, ...]:
        """At its own rate of 1 Hz; the rate that was set is announced, not obeyed, by this simulator."""
        return (Stream("Measurement", 1.0, self.measured),)

    def mutate(self, data: Any) -> None:
        """{"measurement_rate_hz": i32}: a plain struct, no variants."""
        if self.ignores_mutations:
            raise Ignored("switched off by a fault")
        rate = struct(measurement_rate_hz=i32)(data)["measurement_rate_hz"]
        if rate <= 0:
            raise Panic(f"measurement_rate_hz {rate}: attempt to divide by zero")
        self.rate_hz = rate
        self.announce()


class AnalogInputs(Measurement):
    """wago_ai_test_machine (54): four of them, and their wiring."""

    def measured(self) -> dict[str, Any]:
        """Four currents and a time stamp as text."""
        values: list[float] = [0.004 + 0.002 * i + 0.001 * sin(self.uptime + i) for i in range(4)]
        return {"AnalogInputs": [*values, str(int(self.uptime * 1000))]}

    def streams(self) -> tuple[Stream, ...]:
        """Values and wiring errors."""
        return (
            Stream("AnalogInputs", 1.0, self.measured),
            Stream("WiringErrors", 1.0, lambda: {"WiringErrors": [False] * 4}),
        )


class WagoSerial(Terminal):
    """wago serial (103): sends a string. It has no slug, so listing the machines panics."""

    def reset(self) -> None:
        """No message yet."""
        self.current_message: str | None = None

    def read_variant(self, data: Any) -> tuple[str, Any]:
        """External tagging."""
        return external(data)

    def state(self) -> dict[str, Any]:
        """The last message."""
        return {"current_message": self.current_message}

    def handlers(self) -> Handlers:
        """SendMessage."""
        return {"SendMessage": (text, self.setter("current_message"))}
