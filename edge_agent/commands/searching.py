"""Asks everything on a bus who it is: Modbus units, and on a line a lone DL/T 645 meter for its address."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.dlt645.driver import make_driver as make_dlt645_driver
from drivers.dlt645.find import find_address
from drivers.line import ConnectionBroke, Line, ReplyTimeout, UnusableReply
from drivers.modbus.scan import Candidate, Found, Progress, scan_line
from edge_agent.buses.polled import LineWire, make_wire
from edge_agent.config import BusSection
from models.profile import Profile
from models.profile.dlt645 import Dlt645Profile
from models.profile.modbus import ModbusProfile
from models.reading import Quality
from models.times import Clock

ADDRESS_TIMEOUT_S = 0.8
"""A meter begins within 0.5 s (DL/T 645-2007, 7.4), and its 22 bytes take 0.2 s at 1200 bit/s."""

ADDRESS_ATTEMPTS = 2  # the first question may be what wakes the meter

OnProgress = Callable[[Progress], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something that answers, and the profiles that fit it, best first."""

    unit: int | None = None
    address: str | None = None
    took_ms: int | None = None
    identification: dict[str, str]
    candidates: tuple[Candidate, ...]
    any_unit: bool = False

    @property
    def place(self) -> str:
        """What tells it from the others on its bus, for people."""
        return f"unit {self.unit}" if self.address is None else f"address {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A bus that was searched. `remarks` say what was seen and cannot be used as it is."""

    bus: BusSection
    endpoint: str
    asked: int
    devices: tuple[Device, ...]
    remarks: tuple[str, ...] = ()


async def search(
    bus: BusSection,
    units: Sequence[int],
    profiles: Sequence[Profile],
    *,
    clock: Clock,
    on_progress: OnProgress = lambda progress: None,
) -> Searched:
    """Only reads are sent. Raises DeviceUnreachable when the bus cannot be opened."""
    wire = make_wire(bus, clock)
    link = wire.modbus if isinstance(wire, LineWire) else wire
    modbus = [profile for profile in profiles if isinstance(profile, ModbusProfile)]
    meters: list[Device] = []
    remarks: list[str] = []
    try:
        await link.attach(search)  # so that it stays open in between
        if isinstance(wire, LineWire):
            meters, remarks = await _lone_meter(wire.line, profiles, clock)
        found = await scan_line(link, units, modbus, on_progress=on_progress)
    finally:
        await link.detach(search)
    return Searched(
        bus=bus,
        endpoint=link.endpoint,
        asked=len(units),
        devices=(*map(_device, found), *meters),
        remarks=tuple(remarks),
    )


def _device(found: Found) -> Device:
    return Device(
        unit=found.unit,
        took_ms=found.took_ms,
        identification=found.identification,
        candidates=found.candidates,
        any_unit=found.any_unit,
    )


async def _lone_meter(
    line: Line, profiles: Sequence[Profile], clock: Clock
) -> tuple[list[Device], list[str]]:
    """The DL/T 645 meter of the line, or why there is none though something answered."""
    remarks: list[str] = []
    for _ in range(ADDRESS_ATTEMPTS):
        try:
            address = await find_address(line, timeout_s=ADDRESS_TIMEOUT_S)
        except UnusableReply:
            remarks = [
                "several DL/T 645 meters, or noise: connect one meter at a time, to be told its address"
            ]
        except (ReplyTimeout, ConnectionBroke):
            continue
        else:
            candidates = [await _fit(line, address, profile, clock) for profile in _of_2007(profiles)]
            best_first = sorted(filter(None, candidates), key=lambda candidate: -candidate.score)
            return [Device(address=address, identification={}, candidates=tuple(best_first))], []
    return [], remarks


def _of_2007(profiles: Sequence[Profile]) -> list[Dlt645Profile]:
    """Meters of 1997 do not know the question for the address."""
    return [p for p in profiles if isinstance(p, Dlt645Profile) and p.dlt645.edition == "2007"]


async def _fit(line: Line, address: str, profile: Dlt645Profile, clock: Clock) -> Candidate | None:
    """A profile fits when the meter has all of its points; the more these are, the better."""
    driver = make_dlt645_driver(
        device_id=address, profile=profile, address=address, line=line, parameters={}, clock=clock
    )
    readings = await driver.read()
    if any(reading.quality is not Quality.GOOD for reading in readings):
        return None
    return Candidate(profile.profile, len(readings), (f"it has all {len(readings)} points",))
