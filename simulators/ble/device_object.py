"""BlueZ's D-Bus object for a device that has been heard (doc/org.bluez.Device.rst)."""

from collections.abc import Callable
from typing import Annotated

from dbus_fast import DBusError, PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusInt16, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from simulators.ble.air import Advert, Gatt, long_uuid
from simulators.ble.gatt_objects import GattCharacteristic, Strings, gatt_objects

READ = PropertyAccess.READ
ServiceData = Annotated[dict[str, Variant], DBusSignature("a{sv}")]
ManufacturerData = Annotated[dict[int, Variant], DBusSignature("a{qv}")]

Export = Callable[[str, ServiceInterface], None]
Unexport = Callable[[str], None]


class DeviceObject(ServiceInterface):
    """One device. While it is connected it does not advertise."""

    def __init__(
        self,
        *,
        address: str,
        name: str,
        gatt: Gatt | None,
        adapter_path: str,
        export: Export,
        unexport: Unexport,
    ) -> None:
        super().__init__("org.bluez.Device1")
        self._address, self._name, self._gatt, self._adapter_path = address, name, gatt, adapter_path
        self._export, self._unexport = export, unexport
        self.path = f"{adapter_path}/dev_{address.replace(':', '_')}"
        self.advert = Advert()
        self.is_connected = self.is_resolved = False
        self._shown: list[str] = []
        self._characteristics: dict[int, GattCharacteristic] = {}

    def receive(self, advert: Advert, *, duplicates: bool) -> None:
        """An advertisement of a device that is shown already.

        BlueZ tells only of what has changed; with `duplicates` of data in any case.
        """
        before, self.advert = self.advert, advert
        changed: dict[str, object] = {} if advert.rssi == before.rssi else {"RSSI": advert.rssi}
        if duplicates or advert.services != before.services:
            changed["ServiceData"] = self.service_data
        if duplicates or advert.makers != before.makers:
            changed["ManufacturerData"] = self.manufacturer_data
        if advert.uuids != before.uuids:
            changed["UUIDs"] = self.uuids
        if changed:
            self.emit_properties_changed(changed)

    def push(self, uuid: int, content: bytes) -> None:
        """Notify the client that is connected, if there is one and it has subscribed."""
        characteristic = self._characteristics.get(uuid)
        if characteristic is not None:
            characteristic.push(content)

    @property
    def is_subscribed(self) -> bool:
        return any(each.is_notifying for each in self._characteristics.values())

    def drop(self) -> None:
        """End the link, as the client wishes or because the radio loses it."""
        if not self.is_connected:
            return
        self.is_connected = self.is_resolved = False
        for path in reversed(self._shown):
            self._unexport(path)
        self._shown.clear()
        self._characteristics.clear()
        self.emit_properties_changed({"ServicesResolved": False, "Connected": False})

    @dbus_property(READ, name="Address")
    def address(self) -> DBusStr:
        return self._address

    @dbus_property(READ, name="AddressType")
    def address_type(self) -> DBusStr:
        return "public"

    @dbus_property(READ, name="Name")
    def advertised_name(self) -> DBusStr:
        return self._name

    @dbus_property(READ, name="Alias")
    def alias(self) -> DBusStr:
        return self._name

    @dbus_property(READ, name="Adapter")
    def adapter(self) -> DBusObjectPath:
        return self._adapter_path

    @dbus_property(READ, name="Paired")
    def paired(self) -> DBusBool:
        return False

    @dbus_property(READ, name="Connected")
    def connected(self) -> DBusBool:
        return self.is_connected

    @dbus_property(READ, name="ServicesResolved")
    def services_resolved(self) -> DBusBool:
        return self.is_resolved

    @dbus_property(READ, name="RSSI")
    def rssi(self) -> DBusInt16:
        return self.advert.rssi

    @dbus_property(READ, name="UUIDs")
    def uuids(self) -> Strings:
        return [long_uuid(uuid) for uuid in self.advert.uuids]

    @dbus_property(READ, name="ServiceData")
    def service_data(self) -> ServiceData:
        return {long_uuid(uuid): Variant("ay", data) for uuid, data in self.advert.services.items()}

    @dbus_property(READ, name="ManufacturerData")
    def manufacturer_data(self) -> ManufacturerData:
        return {maker: Variant("ay", data) for maker, data in self.advert.makers.items()}

    @dbus_method(name="Connect")
    def connect(self) -> None:
        if self._gatt is None or self._gatt.refuses():
            raise DBusError("org.bluez.Error.Failed", "le-connection-timeout")
        self.is_connected = True
        self.emit_properties_changed({"Connected": True})
        for path, shown in gatt_objects(self._gatt, self.path):
            self._export(path, shown)
            self._shown.append(path)
            if isinstance(shown, GattCharacteristic):
                self._characteristics[shown.characteristic.uuid] = shown
        self.is_resolved = True  # after the objects are there, as bluetoothd does
        self.emit_properties_changed({"ServicesResolved": True})

    @dbus_method(name="Disconnect")
    def disconnect(self) -> None:
        self.drop()
