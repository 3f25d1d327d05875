"""Gives each device and point of a gateway its number, and keeps what the gateway says of them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.inventory import DeviceDescription, PointDescription


@dataclass(slots=True)
class _Known:
    """The numbers of one gateway's devices and points."""

    devices: dict[str, int] = field(default_factory=dict)
    points: dict[tuple[str, str], int] = field(default_factory=dict)


class Inventory:
    """Remembers numbers between batches. A number never changes, so what was committed stays true.

    What is not remembered may be there all the same: another process may have taken it in meanwhile, such as
    `collector import` beside `collector serve`. It is looked for before a number is given.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def forget(self) -> None:
        """A transaction was rolled back: numbers given in it may be given again, to others."""
        self._known.clear()

    def open(self, connection: sqlite3.Connection, site_id: int, gateway_id: str) -> "GatewayInventory":
        known = self._known.get(gateway_id)
        if known is None:
            known = self._known[gateway_id] = _load(connection, site_id, gateway_id)
        return GatewayInventory(connection, site_id, gateway_id, known)


class GatewayInventory:
    """The devices and points of one gateway, inside one job. `keep` what was added once it is certain."""

    def __init__(self, connection: sqlite3.Connection, site_id: int, gateway_id: str, known: _Known) -> None:
        self._connection = connection
        self._site_id = site_id
        self._gateway_id = gateway_id
        self._known = known
        self._added = _Known()

    def keep(self) -> None:
        self._known.devices.update(self._added.devices)
        self._known.points.update(self._added.points)

    def points(self, series: Sequence[tuple[str, str]]) -> list[int]:
        """The number of each series, those seen for the first time included."""
        known = self._known.points
        return [known.get(key) or self._point(*key) for key in series]

    def describe(self, description: DeviceDescription, at_ms: int) -> None:
        """Take over what is said, unless something later has been said before."""
        device = self._device(description.device_id)
        newer = self._connection.execute(
            "UPDATE device SET name = ?, profile = ?, profile_version = ?, period_s = ?, "
            "unauthenticated = ?, described_ms = ?6 "
            "WHERE site_id = ? AND id = ? AND coalesce(described_ms, ?6) <= ?6",
            (
                description.name,
                description.profile,
                description.profile_version,
                description.period_s,
                int(description.unauthenticated),
                at_ms,
                self._site_id,
                device,
            ),
        ).rowcount
        if newer:
            self._connection.executemany(
                "UPDATE point SET unit = ?, kind = ?, item_code = ?, decimals = ?, modulus = ?, "
                "max_rate_per_h = ? WHERE site_id = ? AND id = ?",
                [self._row(description.device_id, point) for point in description.points],
            )

    def _row(self, device_id: str, point: PointDescription) -> tuple[str | float | None, ...]:
        return (
            point.unit,
            point.kind,
            point.item_code,
            point.decimals,
            point.modulus,
            point.max_rate_per_h,
            self._site_id,
            self._point(device_id, point.name),
        )

    def _device(self, device_id: str) -> int:
        number = self._known.devices.get(device_id) or self._added.devices.get(device_id)
        if number is None:
            number = self._find(
                "SELECT id FROM device WHERE site_id = ? AND gateway_id = ? AND device_id = ?",
                self._gateway_id,
                device_id,
            )
            if number is None:
                number = self._next("device")
                self._connection.execute(
                    "INSERT INTO device (site_id, id, gateway_id, device_id, name) VALUES (?, ?, ?, ?, ?4)",
                    (self._site_id, number, self._gateway_id, device_id),
                )
            self._added.devices[device_id] = number
        return number

    def _point(self, device_id: str, name: str) -> int:
        key = (device_id, name)
        number = self._known.points.get(key) or self._added.points.get(key)
        if number is None:
            device = self._device(device_id)
            number = self._find(
                "SELECT id FROM point WHERE site_id = ? AND device = ? AND name = ?", device, name
            )
            if number is None:
                number = self._next("point")
                self._connection.execute(
                    "INSERT INTO point (site_id, id, device, name) VALUES (?, ?, ?, ?)",
                    (self._site_id, number, device, name),
                )
            self._added.points[key] = number
        return number

    def _find(self, query: str, *names: str | int) -> int | None:
        row = self._connection.execute(query, (self._site_id, *names)).fetchone()
        return None if row is None else int(row[0])

    def _next(self, table: str) -> int:
        # `table` is one of two words of this module, never something from outside.
        query = f"SELECT coalesce(max(id), 0) + 1 FROM {table} WHERE site_id = ?"  # noqa: S608
        [number] = self._connection.execute(query, (self._site_id,)).fetchone()
        return int(number)


def _load(connection: sqlite3.Connection, site_id: int, gateway_id: str) -> _Known:
    known = _Known()
    for device_id, number in connection.execute(
        "SELECT device_id, id FROM device WHERE site_id = ? AND gateway_id = ?", (site_id, gateway_id)
    ):
        known.devices[device_id] = number
    for device_id, name, number in connection.execute(
        "SELECT device.device_id, point.name, point.id FROM point "
        "JOIN device ON device.site_id = point.site_id AND device.id = point.device "
        "WHERE device.site_id = ? AND device.gateway_id = ?",
        (site_id, gateway_id),
    ):
        known.points[device_id, name] = number
    return known
