"""The Bluetooth adapter: scanning, talking over GATT and switching it off and on, by bleak and BlueZ.

bleak keeps one connection to the system bus for each event loop, which ends with the loop.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Literal, NamedTuple

from bleak import BleakClient, BleakScanner
from bleak.args.bluez import BlueZScannerArgs, OrPattern
from bleak.assigned_numbers import AdvertisementDataType
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from drivers.ble.formats import Conversation, Pattern
from drivers.ble.frames import Advert
from models.errors import RetryLater
from models.times import Clock

START_LIMIT_S: Final = 15.0
STOP_LIMIT_S: Final = 5.0
CONNECT_LIMIT_S: Final = 20.0
TALK_LIMIT_S: Final = 10.0
POWER_LIMIT_S: Final = 10.0
OFF_S: Final = 1.0
"""Between off and on, for the firmware of the adapter to notice."""

_BASE = "-0000-1000-8000-00805f9b34fb"  # of the UUIDs that are written with 16 bits
_NOT_HEARD = -127  # what bleak gives when BlueZ has forgotten the strength, which is no advertisement
_LONGEST_ANSWER = 4096

_log = logging.getLogger(__name__)

OnAdvert = Callable[[Advert, BLEDevice], None]


class RadioDown(RetryLater):
    """The adapter cannot be used at present."""

    def __init__(self, adapter: str, detail: str) -> None:
        super().__init__(
            f"{adapter}: {detail}; check that bluetoothd runs, that the adapter is plugged in and not blocked"
        )
        self.adapter, self.detail = adapter, detail


class TalkFailed(RetryLater):
    """A device could not be asked over GATT."""

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(f"{address}: {detail}")
        self.address, self.detail = address, detail


class Answer(NamedTuple):
    """What a device answered."""

    frame: bytes
    measured_ms: int  # between question and answer; of a device that talks by itself, when it did
    received_ms: int


class Radio:
    """One adapter. `patterns` are what a passive scan must look out for."""

    def __init__(
        self,
        adapter: str,
        scanning: Literal["active", "passive"],
        patterns: Sequence[Pattern],
        clock: Clock,
    ) -> None:
        self.adapter, self._clock = adapter, clock
        self._mode = scanning
        self._patterns = [
            OrPattern(0, AdvertisementDataType(pattern.kind), pattern.start) for pattern in patterns
        ]

    @contextlib.asynccontextmanager
    async def scanning(self, on_advert: OnAdvert) -> AsyncIterator[None]:
        """Call `on_advert` with all that is received while the block runs. Raises RadioDown."""
        scanner = self._scanner(on_advert)
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await scanner.start()
        except Exception as err:  # bleak lets errors of sockets and of D-Bus through as they are
            raise RadioDown(self.adapter, _told(err)) from err
        try:
            yield
        finally:
            await self._stop(scanner)

    async def power_cycle(self) -> None:
        """Switch the adapter off, and on again. Raises RadioDown."""
        await self._set_power(False)
        await self._clock.sleep(OFF_S)
        await self._set_power(True)

    async def power_on(self) -> None:
        """Switch the adapter on. Raises RadioDown."""
        await self._set_power(True)

    async def talk(self, device: BLEDevice, conversation: Conversation) -> Answer:
        """Connect, ask if there is a question, return the first whole frame, leave. Raises TalkFailed."""
        stream, news = bytearray(), asyncio.Event()
        gone = asyncio.Event()

        def arrived(_: object, data: bytearray) -> None:
            stream.extend(data)
            del stream[:-_LONGEST_ANSWER]
            news.set()

        def left(_: BleakClient) -> None:
            gone.set()
            news.set()

        client = BleakClient(device, disconnected_callback=left, timeout=CONNECT_LIMIT_S)
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await client.connect()
            async with asyncio.timeout(TALK_LIMIT_S):
                await client.start_notify(_uuid(conversation.notify), arrived)
                asked_ms = self._clock.now_ms()
                if conversation.write is not None:
                    await client.write_gatt_char(_uuid(conversation.write), conversation.question)
                while (frame := conversation.take(stream)) is None:
                    if gone.is_set():
                        raise TalkFailed(
                            device.address, "it ended the connection before its answer was whole"
                        )
                    await news.wait()
                    news.clear()
                now_ms = self._clock.now_ms()
                measured_ms = now_ms if conversation.write is None else (asked_ms + now_ms) // 2
                return Answer(frame, measured_ms, now_ms)
        except TalkFailed:
            raise
        except Exception as err:  # as above
            raise TalkFailed(device.address, _told(err)) from err
        finally:
            await self._leave(client)

    def _scanner(self, on_advert: OnAdvert) -> BleakScanner:
        def heard(device: BLEDevice, data: AdvertisementData) -> None:
            if data.rssi != _NOT_HEARD:
                on_advert(_advert(device, data), device)

        # Without DuplicateData a device that says the same for hours could not be told from a dead one.
        arguments: BlueZScannerArgs = {"adapter": self.adapter, "filters": {"DuplicateData": True}}
        if self._mode == "passive":
            arguments["or_patterns"] = list(self._patterns)
        try:
            return BleakScanner(heard, scanning_mode=self._mode, bluez=arguments)
        except Exception as err:  # as above: no Bluetooth on this kind of machine, for one
            raise RadioDown(self.adapter, _told(err)) from err

    async def _stop(self, scanner: BleakScanner) -> None:
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await scanner.stop()
        except Exception as err:  # an adapter or bus that is gone scans no more
            _log.debug("%s: the scan could not be stopped: %s", self.adapter, _told(err))

    async def _leave(self, client: BleakClient) -> None:
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await client.disconnect()
        except Exception as err:  # as above
            _log.debug("%s: %s could not be left: %s", self.adapter, client.address, _told(err))

    async def _set_power(self, on: bool) -> None:
        bus: MessageBus | None = None
        try:
            async with asyncio.timeout(POWER_LIMIT_S):
                bus = MessageBus(bus_type=BusType.SYSTEM)
                await bus.connect()
                reply = await bus.call(
                    Message(
                        destination="org.bluez",
                        path=f"/org/bluez/{self.adapter}",
                        interface="org.freedesktop.DBus.Properties",
                        member="Set",
                        signature="ssv",
                        body=["org.bluez.Adapter1", "Powered", Variant("b", on)],
                    )
                )
        except Exception as err:  # as above
            raise RadioDown(self.adapter, _told(err)) from err
        finally:
            if bus is not None:
                bus.disconnect()
        if reply is None or reply.message_type is MessageType.ERROR:
            detail = "" if reply is None else f"{reply.error_name} {reply.body}"
            raise RadioDown(self.adapter, f"cannot be switched {'on' if on else 'off'}: {detail}")


def _advert(device: BLEDevice, data: AdvertisementData) -> Advert:
    services = {
        int(uuid[4:8], 16): content
        for uuid, content in data.service_data.items()
        if uuid.startswith("0000") and uuid[8:].lower() == _BASE
    }
    return Advert(device.address.upper(), services, data.manufacturer_data, data.rssi)


def _uuid(short: int) -> str:
    return f"0000{short:04x}{_BASE}"


def _told(err: Exception) -> str:
    if isinstance(err, TimeoutError):
        return "no answer in time"
    return str(err) or type(err).__name__
