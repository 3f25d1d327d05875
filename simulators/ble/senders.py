"""Devices that measure: what each one's next frame holds, as raw numbers, and the frame itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from simulators.ble import frames
from simulators.ble.air import Advert
from simulators.building import Building
from simulators.electric import Consumer, Sample
from simulators.load import Load
from simulators.noise import chance, drift, key_of

_KWH_UJ = 3_600_000_000_000
_LYWSD03MMC = 0x055B
_INVENTED = 0.37  # what a liar's values are, as a part of the right ones


@dataclass(frozen=True, slots=True)
class Measured:
    """What a device measures, as raw numbers of its format by field."""

    values: dict[str, int]

    def scaled(self, factor: float) -> "Measured":
        return Measured({name: round(raw * factor) for name, raw in self.values.items()})


class World:
    """Where a device is: its building, and the load behind it if it is a meter."""

    def __init__(self, building: Building, *, name: str, kw: float, origin_ms: int) -> None:
        self.building, self.origin_ms = building, origin_ms
        self.key = key_of(building.seed, "ble", name)
        self._consumer = Consumer(building, Load(building, name=name, kw=kw, origin_ms=origin_ms), name=name)
        self._age_wh = round(50_000 + 5_000_000 * chance(self.key, 1))

    def sample(self, at_ms: int) -> Sample:
        return self._consumer.sample(at_ms)

    def energy_wh(self, sample: Sample) -> int:
        """The counter: whole watt-hours that only grow."""
        return self._age_wh + sample.active_uj[0] * 1000 // _KWH_UJ

    def celsius(self, at_ms: int) -> float:
        """The air in a room: warmer while people are in it."""
        day, into = divmod(at_ms + self.building.utc_offset_ms, 86_400_000)
        present = self.building.presence(day, into / 3_600_000)
        return (
            20.5
            + 2.5 * present
            + 0.8 * drift(self.key, at_ms, 1_800_000)
            + 0.05 * drift(self.key ^ 1, at_ms, 9_000)
        )

    def humidity(self, at_ms: int) -> float:
        return 46 + 6 * drift(self.key ^ 2, at_ms, 3_600_000) + 0.4 * drift(self.key ^ 3, at_ms, 11_000)

    def pascal(self, at_ms: int) -> float:
        return 101_100 + 900 * drift(key_of(self.building.seed, "weather"), at_ms, 21_600_000)

    def battery(self, at_ms: int) -> float:
        """How full a battery is, in percent: empty after four years."""
        return max(1.0, 100 - (at_ms - self.origin_ms) / (4 * 365 * 864_000))

    def rssi(self, at_ms: int) -> int:
        return round(-68 + 8 * drift(self.key ^ 4, at_ms, 60_000) + 3 * drift(self.key ^ 5, at_ms, 1_000))


class Sender(Protocol):
    """How one kind of device measures and speaks. `number` counts its frames and may begin again at 0."""

    def measure(self, at_ms: int, number: int) -> Measured:
        """What it measures now."""

    def frame(self, measured: Measured, number: int, key: bytes | None) -> Advert:
        """What it sends; with another key or without one, what somebody else would send in its place."""


class BTHomeMeter:
    """Power, energy, voltage and current; sealed when it has a key."""

    def __init__(self, world: World, address: str) -> None:
        self._world, self._address = world, address

    def measure(self, at_ms: int, number: int) -> Measured:
        sample = self._world.sample(at_ms)
        return Measured(
            {
                "0x43": round(1000 * sample.amperes[0]),
                "0x4A": round(10 * sample.volts[0]),
                "0x4D": self._world.energy_wh(sample),
                "0x5C": round(100 * sum(sample.watts)),
            }
        )

    def frame(self, measured: Measured, number: int, key: bytes | None) -> Advert:
        return _bthome(measured, self._address, number, key)


class BTHomeClimate:
    """Temperature, humidity and battery; sealed when it has a key."""

    def __init__(self, world: World, address: str) -> None:
        self._world, self._address = world, address

    def measure(self, at_ms: int, number: int) -> Measured:
        world = self._world
        return Measured(
            {
                "0x01": round(world.battery(at_ms)),
                "0x02": round(100 * world.celsius(at_ms)),
                "0x03": round(100 * world.humidity(at_ms)),
            }
        )

    def frame(self, measured: Measured, number: int, key: bytes | None) -> Advert:
        return _bthome(measured, self._address, number, key)


class XiaomiClimate:
    """One value in each frame: temperature and humidity in turn, now and then the battery."""

    def __init__(self, world: World, address: str) -> None:
        self._world, self._address = world, address

    def measure(self, at_ms: int, number: int) -> Measured:
        world = self._world
        if number % 20 == 19:
            return Measured({"battery": round(world.battery(at_ms))})
        if number % 2:
            return Measured({"humidity": 10 * round(10 * world.humidity(at_ms))})
        return Measured({"temperature": 10 * round(10 * world.celsius(at_ms))})

    def frame(self, measured: Measured, number: int, key: bytes | None) -> Advert:
        ((name, raw),) = measured.values.items()
        if name == "battery":
            payload = frames.mibeacon_object(0x100A, bytes([raw & 0xFF]))
        else:
            number_of = {"temperature": 0x1004, "humidity": 0x1006}
            payload = frames.mibeacon_object(number_of[name], (raw // 10 & 0xFFFF).to_bytes(2, "little"))
        if key is None:
            data = frames.mibeacon_plain(payload, address=self._address, product=_LYWSD03MMC, counter=number)
        else:
            data = frames.mibeacon_sealed(
                payload, address=self._address, product=_LYWSD03MMC, key=key, counter=number
            )
        return Advert(services={frames.MIBEACON: data})


class RuuviTag:
    """Temperature, humidity, pressure and battery, in the clear."""

    def __init__(self, world: World, address: str) -> None:
        self._world, self._address = world, address

    def measure(self, at_ms: int, number: int) -> Measured:
        world = self._world
        return Measured(
            {
                "temperature": round(200 * world.celsius(at_ms)),
                "humidity": round(400 * world.humidity(at_ms)),
                "pressure": round(world.pascal(at_ms)),
                "battery": 2000 + round(10 * world.battery(at_ms)),
                "movements": (at_ms - world.origin_ms) // 3_600_000 % 255,
            }
        )

    def frame(self, measured: Measured, number: int, key: bytes | None) -> Advert:
        data = frames.ruuvi_df5(**measured.values, sequence=number % 0xFFFF, address=self._address)
        return Advert(makers={frames.RUUVI: data})


class VictronBmv:
    """A battery that is charged at noon and discharged at night."""

    def __init__(self, world: World, address: str) -> None:
        self._world, self._address = world, address

    def measure(self, at_ms: int, number: int) -> Measured:
        world = self._world
        wave = drift(world.key ^ 6, at_ms, 7_200_000)
        charge = round(1000 * (0.7 + 0.25 * wave))
        return Measured(
            {
                "remaining": 600 + round(300 * wave),
                "voltage": 1280 + round(60 * wave),
                "alarm": 0,
                "current": round(-12_000 * drift(world.key ^ 7, at_ms, 600_000)),
                "consumed": charge - 1000,
                "charge": charge,
            }
        )

    def frame(self, measured: Measured, number: int, key: bytes | None) -> Advert:
        values = dict(measured.values)
        values["consumed"] = -values["consumed"]
        return Advert(
            makers={frames.VICTRON: frames.victron_bmv(key=key or bytes(16), counter=number, **values)}
        )


SENDERS: dict[str, Callable[[World, str], Sender]] = {
    "bthome-meter": BTHomeMeter,
    "bthome-meter-plain": BTHomeMeter,
    "bthome-climate": BTHomeClimate,
    "bthome-climate-plain": BTHomeClimate,
    "xiaomi-lywsd03mmc": XiaomiClimate,
    "xiaomi-lywsdcgq": XiaomiClimate,
    "ruuvitag": RuuviTag,
    "victron-bmv": VictronBmv,
}
"""Devices that advertise what they measure, by profile."""


def liar(measured: Measured) -> Measured:
    """What somebody would say who has only seen what a device measures."""
    return measured.scaled(_INVENTED)


def _bthome(measured: Measured, address: str, number: int, key: bytes | None) -> Advert:
    objects = {int(name, 16): raw for name, raw in measured.values.items()}
    if key is None:
        data = frames.bthome_plain({0x00: number & 0xFF, **objects})
    else:
        data = frames.bthome_sealed(objects, address=address, key=key, counter=number)
    return Advert(services={frames.BTHOME: data})
