"""BlueZ's D-Bus objects for the services of a connected device (doc/org.bluez.GattService.rst and others)."""

from collections.abc import Iterator
from typing import Annotated

from dbus_fast import DBusError, PropertyAccess
from dbus_fast.annotations import (
    DBusBool,
    DBusBytes,
    DBusDict,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
    DBusUInt16,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from simulators.ble.air import Characteristic, Gatt, long_uuid

READ = PropertyAccess.READ
Strings = Annotated[list[str], DBusSignature("as")]

MTU = 23
"""Of a link whose ends have agreed on nothing: notifications carry 20 bytes."""


class GattService(ServiceInterface):
    """One service."""

    def __init__(self, uuid: int, device_path: str) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid, self._device_path = uuid, device_path

    @dbus_property(READ, name="UUID")
    def uuid(self) -> DBusStr:
        return long_uuid(self._uuid)

    @dbus_property(READ, name="Device")
    def device(self) -> DBusObjectPath:
        return self._device_path

    @dbus_property(READ, name="Primary")
    def primary(self) -> DBusBool:
        return True


class GattCharacteristic(ServiceInterface):
    """One characteristic."""

    def __init__(self, characteristic: Characteristic, service_path: str) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self.characteristic, self._service_path = characteristic, service_path
        self.content, self.is_notifying = b"", False

    def push(self, content: bytes) -> None:
        """Notify the client, if it has subscribed."""
        if self.is_notifying:
            self.content = content
            self.emit_properties_changed({"Value": content})

    @dbus_property(READ, name="UUID")
    def uuid(self) -> DBusStr:
        return long_uuid(self.characteristic.uuid)

    @dbus_property(READ, name="Service")
    def service(self) -> DBusObjectPath:
        return self._service_path

    @dbus_property(READ, name="Value")
    def value(self) -> DBusBytes:
        return self.content

    @dbus_property(READ, name="Notifying")
    def notifying(self) -> DBusBool:
        return self.is_notifying

    @dbus_property(READ, name="MTU")
    def mtu(self) -> DBusUInt16:
        return MTU

    @dbus_property(READ, name="Flags")
    def flags(self) -> Strings:
        able = self.characteristic
        has = {"read": able.read is not None, "write": able.write is not None, "notify": able.notifies}
        return [flag for flag, on in has.items() if on]

    @dbus_method(name="ReadValue")
    def read_value(self, options: DBusDict) -> DBusBytes:
        if self.characteristic.read is None:
            raise DBusError("org.bluez.Error.NotPermitted", "Read not permitted")
        self.content = self.characteristic.read()
        return self.content

    @dbus_method(name="WriteValue")
    async def write_value(self, value: DBusBytes, options: DBusDict) -> None:
        if self.characteristic.write is None:
            raise DBusError("org.bluez.Error.NotPermitted", "Write not permitted")
        await self.characteristic.write(bytes(value))

    @dbus_method(name="StartNotify")
    def start_notify(self) -> None:
        if not self.characteristic.notifies:
            raise DBusError("org.bluez.Error.NotSupported", "Operation is not supported")
        self.is_notifying = True
        self.emit_properties_changed({"Notifying": True})

    @dbus_method(name="StopNotify")
    def stop_notify(self) -> None:
        self.is_notifying = False
        self.emit_properties_changed({"Notifying": False})


def gatt_objects(gatt: Gatt, device_path: str) -> Iterator[tuple[str, ServiceInterface]]:
    """The objects with their paths, in the order in which they are shown; the last 4 digits are handles."""
    handle = 0x0010
    for uuid, characteristics in gatt.services.items():
        service_path = f"{device_path}/service{handle:04x}"
        yield service_path, GattService(uuid, device_path)
        for characteristic in characteristics:
            handle += 2
            yield f"{service_path}/char{handle:04x}", GattCharacteristic(characteristic, service_path)
        handle += 0x10
