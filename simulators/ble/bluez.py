"""Owns `org.bluez` on a private bus, with one adapter, and shows what is received as bluetoothd does."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from dbus_fast import BusType, DBusError, Message, MessageType, NameFlag, RequestNameReply
from dbus_fast.aio import MessageBus

from models.errors import NeedsAHuman
from simulators.ble.adapter_object import AdapterObject, MonitorManagerObject
from simulators.ble.air import Advert, Gatt
from simulators.ble.device_object import DeviceObject

SERVICE: Final = "org.bluez"
_NO_SENDER: Final = ""
_BUS: Final = "org.freedesktop.DBus"

Cure = Literal["scan", "power"]
Pattern = tuple[int, int, bytes]  # position, kind of part, content


class BluezTaken(NeedsAHuman):
    """Somebody owns org.bluez on that bus; it is not a private one."""


class BlueZ:
    """What bluetoothd shows of one adapter. Made by `bluez`."""

    def __init__(self, bus: MessageBus, adapter: str) -> None:
        self._bus = bus
        self._path = f"/org/bluez/{adapter}"
        self._sender = _NO_SENDER
        self.adapter = AdapterObject(
            sender=lambda: self._sender, remove=self._remove, on_power=self._power_changed
        )
        self.monitors = MonitorManagerObject(sender=lambda: self._sender)
        self._devices: dict[str, DeviceObject] = {}
        self._known: dict[str, tuple[str, Gatt | None]] = {}
        self._patterns: dict[tuple[str, str], list[Pattern]] = {}
        self._stalled: Cure | None = None
        self._stalled_at = (0, 0)
        bus.add_message_handler(self._note_sender)

    def know(self, address: str, name: str, gatt: Gatt | None = None) -> None:
        """A device that may be heard."""
        self._known[address] = (name, gatt)

    def device(self, address: str) -> DeviceObject | None:
        """The object of a device that has been heard."""
        return self._devices.get(address)

    def stall(self, cure: Cure) -> None:
        """Discover nothing any more without a word, until a client scans anew, or switches the power."""
        self._stalled, self._stalled_at = cure, (self._scans, self.adapter.power_cycles)

    async def receive(self, address: str, advert: Advert) -> bool:
        """An advertisement reaches the adapter. Whether a client was told of it."""
        if not self.adapter.is_powered or self._is_stalled or not await self._is_sought(advert):
            return False
        device = self._devices.get(address)
        if device is None:
            self._show(address, advert)
        elif device.is_connected:
            return False
        else:
            duplicates = any(self.adapter.wants_duplicates.values()) or bool(self.monitors.monitors)
            device.receive(advert, duplicates=duplicates)
        return True

    @property
    def _scans(self) -> int:
        return self.adapter.starts + self.monitors.registered

    @property
    def _is_stalled(self) -> bool:
        scans, cycles = self._stalled_at
        if self._stalled == "scan" and self._scans > scans:
            self._stalled = None
        if self._stalled is not None and self.adapter.power_cycles > cycles:
            self._stalled = None
        return self._stalled is not None

    async def _is_sought(self, advert: Advert) -> bool:
        if self.adapter.discoverers:
            return True
        for monitor in list(self.monitors.monitors):
            for pattern in await self._patterns_of(monitor):
                if _matches(pattern, advert):
                    return True
        return False

    async def _patterns_of(self, monitor: tuple[str, str]) -> list[Pattern]:
        """What a client's monitor looks for; it says so itself, once its object is there."""
        if monitor not in self._patterns:
            reply = await self._call(
                *monitor, "org.freedesktop.DBus.Properties", "Get", "ss",
                ["org.bluez.AdvertisementMonitor1", "Patterns"],
            )  # fmt: skip
            if reply is None:
                return []
            self._patterns[monitor] = [(at, kind, bytes(content)) for at, kind, content in reply.value]
        return self._patterns[monitor]

    async def _call(
        self, client: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> Any:
        """What a client answers; None for an error, or when there is nothing in the answer."""
        reply = await self._bus.call(
            Message(
                destination=client,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=body,
            )
        )
        if reply is None or reply.message_type is MessageType.ERROR or not reply.body:
            return None
        return reply.body[0]

    def _show(self, address: str, advert: Advert) -> None:
        name, gatt = self._known.get(address, (address.replace(":", "-"), None))
        device = DeviceObject(
            address=address,
            name=name,
            gatt=gatt,
            adapter_path=self._path,
            export=self._bus.export,
            unexport=self._bus.unexport,
        )
        device.advert = advert
        self._devices[address] = device
        self._bus.export(device.path, device)

    def _remove(self, path: str) -> None:
        for address, device in list(self._devices.items()):
            if device.path == path:
                device.drop()
                del self._devices[address]
                self._bus.unexport(path)
                return
        raise DBusError("org.bluez.Error.DoesNotExist", "Does Not Exist")

    def _power_changed(self, on: bool) -> None:
        if not on:
            for device in self._devices.values():
                device.drop()

    def _note_sender(self, message: Message) -> None:
        """Remember whose call comes next, and forget clients that are gone."""
        if message.message_type is MessageType.METHOD_CALL:
            self._sender = message.sender or _NO_SENDER
        elif message.member == "NameOwnerChanged" and message.sender == _BUS and not message.body[2]:
            client = message.body[0]
            self.adapter.forget(client)
            self.monitors.forget(client)
            self._patterns = {which: found for which, found in self._patterns.items() if which[0] != client}

    async def start(self) -> None:
        """Take the name and show the adapter. Raises BluezTaken."""
        self._bus.export(self._path, self.adapter)
        self._bus.export(self._path, self.monitors)
        reply = await self._bus.request_name(SERVICE, NameFlag.DO_NOT_QUEUE)
        if reply is not RequestNameReply.PRIMARY_OWNER:
            raise BluezTaken(f"{SERVICE} is taken on this bus; use a private one")
        rule = f"type='signal',sender='{_BUS}',interface='{_BUS}',member='NameOwnerChanged'"
        await self._call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", "s", [rule])


def _matches(pattern: Pattern, advert: Advert) -> bool:
    at, wanted, start = pattern
    return any(kind == wanted and content[at : at + len(start)] == start for kind, content in advert.parts())


@contextlib.asynccontextmanager
async def bluez(bus_address: str, adapter: str = "hci0") -> AsyncIterator[BlueZ]:
    """BlueZ on that bus while the block runs. Raises BluezTaken."""
    bus = MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM)
    try:
        await bus.connect()
        made = BlueZ(bus, adapter)
        await made.start()
        yield made
    finally:
        bus.disconnect()
