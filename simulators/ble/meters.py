"""Meters that are asked over GATT: what they notify, and when."""

from collections.abc import Callable
from typing import Protocol

from simulators.ble import frames
from simulators.ble.senders import Measured, World

ATORCH_SERVICE, ATORCH_NOTIFY, ATORCH_WRITE = 0xFFE0, 0xFFE1, 0xFFE2
JBD_SERVICE, JBD_NOTIFY, JBD_WRITE = 0xFF00, 0xFF01, 0xFF02
JBD_QUESTION = bytes.fromhex("dda50300fffd77")
PIECE = 20
"""Bytes that one notification carries."""


class GattMeter(Protocol):
    """How one kind of meter measures and answers."""

    service: int
    notify: int
    write: int
    question: bytes  # what it answers to; empty: it reports by itself once a second

    def measure(self, at_ms: int) -> Measured:
        """What it measures now, by field as raw numbers."""

    def report(self, measured: Measured) -> bytes:
        """How it says so."""


class AtorchMeter:
    """A meter for alternating current that reports once a second while somebody has subscribed."""

    service, notify, write, question = ATORCH_SERVICE, ATORCH_NOTIFY, ATORCH_WRITE, b""

    def __init__(self, world: World) -> None:
        self._world = world

    def measure(self, at_ms: int) -> Measured:
        sample = self._world.sample(at_ms)
        watts, volt_amperes = sum(sample.watts), sum(sample.volt_amperes) or 1.0
        return Measured(
            {
                "voltage": round(10 * sample.volts[0]),
                "current": round(1000 * sum(sample.amperes)),
                "power": round(10 * watts),
                "energy": self._world.energy_wh(sample) // 10,
                "frequency": round(10 * sample.hertz),
                "power_factor": round(1000 * watts / volt_amperes),
                "temperature": round(self._world.celsius(at_ms)) + 12,
                "on_time": sample.since_origin_ms // 1000 % (1 << 16),
            }
        )

    def report(self, measured: Measured) -> bytes:
        values = dict(measured.values)
        return frames.atorch_ac(on_s=values.pop("on_time"), **values)


class JbdBattery:
    """A battery that answers when it is asked."""

    service, notify, write, question = JBD_SERVICE, JBD_NOTIFY, JBD_WRITE, JBD_QUESTION

    def __init__(self, world: World) -> None:
        self._world = world

    def measure(self, at_ms: int) -> Measured:
        world = self._world
        charge = round(world.battery(at_ms))
        return Measured(
            {
                "voltage": 1300 + charge,
                "current": -round(sum(world.sample(at_ms).amperes) * 10),
                "remaining": 100 * charge,
                "capacity": 10_000,
                "cycles": 12,
                "protection": 0,
                "charge": charge,
                "charging": 1,
                "discharging": 1,
                "temperature_1": round(10 * world.celsius(at_ms)),
                "temperature_2": round(10 * world.celsius(at_ms)) - 3,
            }
        )

    def report(self, measured: Measured) -> bytes:
        values = measured.values
        same = ("voltage", "current", "remaining", "capacity", "cycles", "charge")
        return frames.jbd_basic(
            temperatures=[values["temperature_1"], values["temperature_2"]],
            **{name: values[name] for name in same},
        )


METERS: dict[str, Callable[[World], GattMeter]] = {"atorch-ac": AtorchMeter, "jbd-bms": JbdBattery}
"""Devices that are asked, by profile."""
