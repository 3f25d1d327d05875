"""BlueZ's D-Bus objects for an adapter (doc/org.bluez.Adapter.rst, …AdvertisementMonitorManager.rst)."""

from collections.abc import Callable

from dbus_fast import DBusError, PropertyAccess
from dbus_fast.annotations import DBusBool, DBusDict, DBusObjectPath, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from simulators.ble.gatt_objects import Strings

READ = PropertyAccess.READ


class AdapterObject(ServiceInterface):
    """One adapter. `sender` is asked for the client of the call that is being answered."""

    def __init__(
        self, *, sender: Callable[[], str], remove: Callable[[str], None], on_power: Callable[[bool], None]
    ) -> None:
        super().__init__("org.bluez.Adapter1")
        self._sender, self._remove, self._on_power = sender, remove, on_power
        self.is_powered = True
        self.discoverers: set[str] = set()  # clients that have started a discovery
        self.wants_duplicates: dict[str, bool] = {}
        self.starts = 0  # discoveries so far
        self.power_cycles = 0

    def forget(self, client: str) -> None:
        """A client is gone, and with it its discovery."""
        self.discoverers.discard(client)
        self.wants_duplicates.pop(client, None)

    def set_power(self, on: bool) -> None:
        """Switch it, as a client or the hardware does."""
        if on == self.is_powered:
            return
        self.is_powered = on
        self.power_cycles += on
        self.discoverers.clear()
        self.emit_properties_changed({"Powered": on, "Discovering": False})
        self._on_power(on)

    @dbus_property(READ, name="Address")
    def address(self) -> DBusStr:
        return "00:00:5E:00:53:01"

    @dbus_property(READ, name="Alias")
    def alias(self) -> DBusStr:
        return "simulated"

    @dbus_property(PropertyAccess.READWRITE, name="Powered")
    def powered(self) -> DBusBool:
        return self.is_powered

    @powered.setter
    def set_powered(self, on: DBusBool) -> None:
        self.set_power(on)

    @dbus_property(READ, name="Discovering")
    def discovering(self) -> DBusBool:
        return bool(self.discoverers)

    @dbus_property(READ, name="Roles")
    def roles(self) -> Strings:
        return ["central"]

    @dbus_method(name="SetDiscoveryFilter")
    def set_discovery_filter(self, properties: DBusDict) -> None:
        duplicates = properties.get("DuplicateData")
        self.wants_duplicates[self._sender()] = duplicates is None or bool(duplicates.value)

    @dbus_method(name="StartDiscovery")
    def start_discovery(self) -> None:
        if not self.is_powered:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        if self._sender() in self.discoverers:
            raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")
        self.starts += 1
        self.discoverers.add(self._sender())
        self.emit_properties_changed({"Discovering": True})

    @dbus_method(name="StopDiscovery")
    def stop_discovery(self) -> None:
        if not self.is_powered:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        if self._sender() not in self.discoverers:
            raise DBusError("org.bluez.Error.Failed", "No discovery started")
        self.discoverers.discard(self._sender())
        self.emit_properties_changed({"Discovering": bool(self.discoverers)})

    @dbus_method(name="RemoveDevice")
    def remove_device(self, device: DBusObjectPath) -> None:
        self._remove(device)


class MonitorManagerObject(ServiceInterface):
    """The adapter's side of passive scanning: clients register monitors, which say what they look for."""

    def __init__(self, *, sender: Callable[[], str]) -> None:
        super().__init__("org.bluez.AdvertisementMonitorManager1")
        self._sender = sender
        self.monitors: set[tuple[str, str]] = set()  # client and path
        self.registered = 0

    def forget(self, client: str) -> None:
        """A client is gone, and with it its monitors."""
        self.monitors = {monitor for monitor in self.monitors if monitor[0] != client}

    @dbus_property(READ, name="SupportedMonitorTypes")
    def types(self) -> Strings:
        return ["or_patterns"]

    @dbus_method(name="RegisterMonitor")
    def register_monitor(self, application: DBusObjectPath) -> None:
        self.registered += 1
        self.monitors.add((self._sender(), application))

    @dbus_method(name="UnregisterMonitor")
    def unregister_monitor(self, application: DBusObjectPath) -> None:
        self.monitors.discard((self._sender(), application))
