"""Simulated devices at the adapter: they advertise, are connected to, and misbehave on request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from models.profile.ble import BleProfile
from models.times import Clock
from simulators.ble.air import Advert, Characteristic, Gatt
from simulators.ble.bluez import BlueZ
from simulators.ble.faults import BleFault, BleFaultSet
from simulators.ble.meters import METERS, PIECE, GattMeter
from simulators.ble.sections import BleDeviceSection
from simulators.ble.senders import SENDERS, Measured, Sender, World, liar
from simulators.ble.shown import raw_step, shown
from simulators.ledger import LedgerWriter
from simulators.noise import chance, key_of

REPORT_MS: Final = 1000
"""Between two reports of a meter that reports by itself."""

_RECORDED: Final = 200  # advertisements that somebody has recorded and may send again
_REBOOT_MS: Final = 10_000


class Place(NamedTuple):
    """What a device is among."""

    world: World
    bluez: BlueZ
    clock: Clock
    seed: int
    ledger: LedgerWriter | None


class _Base:
    """What both kinds of device share."""

    def __init__(self, section: BleDeviceSection, profile: BleProfile, place: Place) -> None:
        self.section, self.profile = section, profile
        self.address = section.address.upper()
        self._world, self._bluez, self._clock, seed, self._ledger = place
        self.faults = BleFaultSet(
            section.id, seed=seed, origin_ms=self._world.origin_ms, now_ms=self._clock.now_ms
        )
        self.frames = 0  # so far
        self._key = key_of(seed, "ble-device", section.id)
        for fault in section.faults:
            self.faults.add(fault)

    def _say(self, measured: Measured, rssi: int | None) -> None:
        if self._ledger is not None:
            values = shown(self.profile, measured.values, rssi)
            self._ledger.said(self._clock.now_ms(), self.section.id, values, kept=False)

    def _jumped(self, measured: Measured, strikes: Mapping[str, BleFault]) -> Measured:
        jump = strikes.get("jump")
        if jump is None or jump.by is None:
            return measured
        name, counts = raw_step(self.profile, jump.by)
        return Measured({each: raw + counts * (each == name) for each, raw in measured.values.items()})

    def _noise(self, size: int) -> bytes:
        """Bytes that begin as no frame does: what could be taken for one would be no fault of a reader."""
        return b"\xfe" + bytes(round(255 * chance(self._key, self.frames * 64 + at)) for at in range(1, size))

    async def _every(self, every_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        """On a grid of its own, so that devices do not all speak at once."""
        next_ms = self._world.origin_ms + round(every_ms * chance(self._key, 9))
        while True:
            now_ms = self._clock.now_ms()
            if next_ms <= now_ms:  # a jump of the clock, or the first time
                next_ms += every_ms * (1 + (now_ms - next_ms) // every_ms)
            await self._clock.sleep((next_ms - now_ms) / 1000)
            next_ms += every_ms
            await work()


class Advertiser(_Base):
    """A device that advertises what it measures."""

    def __init__(self, section: BleDeviceSection, profile: BleProfile, place: Place) -> None:
        super().__init__(section, profile, place)
        self.number = section.counter  # of its next frame
        self._sender: Sender = SENDERS[section.profile](place.world, self.address)
        self._secret = None if section.key is None else bytes.fromhex(section.key)
        self._recorded: list[Advert] = []
        self._silent_until_ms = 0
        place.bluez.know(self.address, f"{section.profile}-{self.address[-2:]}")

    async def run(self) -> None:
        await self._every(self.section.every_ms, self.speak)

    async def speak(self) -> None:
        """Measure, and send one advertisement."""
        now_ms = self._clock.now_ms()
        if now_ms < self._silent_until_ms:
            return
        self.frames += 1
        strikes = self.faults.strike(self.frames, now_ms)
        if "counter_reset" in strikes:
            self.number = 0
        if "reboot" in strikes:
            self.number = 0
            self._silent_until_ms = now_ms + (strikes["reboot"].lasts_ms or _REBOOT_MS)
            return
        measured = self._jumped(self._sender.measure(now_ms, self.number), strikes)
        rssi = self._world.rssi(now_ms)
        honest = self._sender.frame(measured, self.number, self._secret)._replace(rssi=rssi)
        instead = self._instead(measured, strikes)
        self.number += 1
        if instead is not None:
            await self._bluez.receive(self.address, instead._replace(rssi=rssi))
            return
        if "lost" in strikes:
            return
        if await self._bluez.receive(self.address, honest):
            self._say(measured, rssi)
        await self._again(honest, strikes)
        self._recorded = [*self._recorded, honest][-_RECORDED:]

    async def replay(self, advert: Advert) -> None:
        """Somebody sends what was recorded before."""
        await self._bluez.receive(self.address, advert)

    @property
    def recorded(self) -> list[Advert]:
        """What it has sent lately, the oldest first."""
        return list(self._recorded)

    async def _again(self, honest: Advert, strikes: Mapping[str, BleFault]) -> None:
        """What is on the air after the right advertisement."""
        if "duplicate" in strikes:
            await self._bluez.receive(self.address, honest._replace(rssi=honest.rssi - 1))
        if "foreign" in strikes:
            await self._bluez.receive(_stranger(self._key), honest)
        if "replayed" in strikes and self._recorded:
            old = self._recorded[int(chance(self._key, self.frames) * len(self._recorded))]
            await self._bluez.receive(self.address, old)

    def _instead(self, measured: Measured, strikes: Mapping[str, BleFault]) -> Advert | None:
        """What is on the air in place of the right advertisement."""
        if "wrong_key" in strikes:
            return self._sender.frame(liar(measured), self.number, bytes(15) + b"\x01")
        if "downgrade" in strikes:
            return self._sender.frame(liar(measured), self.number, None)
        if "garbage" in strikes:
            honest = self._sender.frame(measured, self.number, self._secret)
            makers = {maker: data[:7] for maker, data in honest.makers.items()}
            services = {uuid: self._noise(len(data)) for uuid, data in honest.services.items()}
            return Advert(services=services, makers=makers)
        return None


class AskedMeter(_Base):
    """A meter that is connected to. It advertises only that it is there."""

    def __init__(self, section: BleDeviceSection, profile: BleProfile, place: Place) -> None:
        super().__init__(section, profile, place)
        self._meter: GattMeter = METERS[section.profile](place.world)
        self._silent_until_ms = 0
        characteristics = [
            Characteristic(self._meter.notify, notifies=True),
            Characteristic(self._meter.write, write=self._written),
        ]
        gatt = Gatt({self._meter.service: characteristics}, self._refuses)
        place.bluez.know(self.address, f"{section.profile}-{self.address[-2:]}", gatt)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self.section.every_ms, self._advertise))
            if not self._meter.question:
                tasks.create_task(self._every(REPORT_MS, self._report))

    async def _advertise(self) -> None:
        now_ms = self._clock.now_ms()
        if now_ms >= self._silent_until_ms:
            advert = Advert(uuids=(self._meter.service,), rssi=self._world.rssi(now_ms))
            await self._bluez.receive(self.address, advert)

    async def _written(self, content: bytes) -> None:
        if content == self._meter.question:
            await self._report()

    async def _report(self) -> None:
        device = self._bluez.device(self.address)
        if device is None or not device.is_subscribed:
            return
        now_ms = self._clock.now_ms()
        self.frames += 1
        strikes = self.faults.strike(self.frames, now_ms)
        if "reboot" in strikes:
            self._silent_until_ms = now_ms + (strikes["reboot"].lasts_ms or _REBOOT_MS)
            device.drop()
            return
        measured = self._jumped(self._meter.measure(now_ms), strikes)
        report = self._meter.report(measured)
        if "lost" in strikes:
            return
        if "garbage" in strikes:
            device.push(self._meter.notify, self._noise(PIECE))
        for at in range(0, len(report), PIECE):
            device.push(self._meter.notify, report[at : at + PIECE])
        self._say(measured, None)

    def _refuses(self) -> bool:
        return self._clock.now_ms() < self._silent_until_ms


def _stranger(key: int) -> str:
    digits = f"{key_of(key, 'stranger') & 0xFFFFFFFFFF:010X}"
    return "C2:" + ":".join(digits[at : at + 2] for at in range(0, 10, 2))
