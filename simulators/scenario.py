"""A scenario: a building, its racks of meters, and what goes wrong with them and when."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date
from importlib.resources import files
from typing import Any

from pydantic import Field

from models.document import DocumentMistakes, Mistake, load_document
from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import WrongFamily, parameter_mistakes
from models.profile.modbus import ModbusProfile
from simulators.anomalies import Anomaly, Jump
from simulators.ble.sections import BleSection
from simulators.ble.sections import find_mistakes as ble_mistakes
from simulators.building import Building
from simulators.cjt188.sections import Cjt188LineSection
from simulators.cjt188.sections import find_mistakes as cjt188_mistakes
from simulators.dlt645.sections import Dlt645LineSection
from simulators.dlt645.sections import find_mistakes as dlt645_mistakes
from simulators.faults import Fault
from simulators.fields import HourOfDay, Section
from simulators.modbus.image import Gaps
from simulators.parking.sections import CarParkSection
from simulators.parking.sections import find_mistakes as car_park_mistakes
from simulators.profiles import UnknownProfile, profile_of


class BuildingSection(Section):
    """What kind of office it is."""

    utc_offset_h: float = Field(default=8.0, ge=-12, le=14, multiple_of=0.25, description="of its clock")
    work_from: HourOfDay = Field(default=8.5)
    work_to: HourOfDay = Field(default=18.0)
    lunch_from: HourOfDay = Field(default=12.0)
    lunch_to: HourOfDay = Field(default=13.5)
    lunch_dip: float = Field(
        default=0.25, ge=0, le=1, description="part of the day's load that lunch switches off"
    )
    night_share: float = Field(default=0.22, ge=0, le=1, description="base load, as a part of the day's")
    weekend_share: float = Field(
        default=0.12, ge=0, le=1, description="part of the people who come at weekends"
    )
    noise: float = Field(default=0.04, ge=0, le=0.3, description="relative, around the pattern")
    nominal_v: float = Field(default=230.0, gt=0, le=1000)
    frequency_hz: float = Field(default=50.0, ge=45, le=65)
    holidays: tuple[date, ...] = Field(default=(), description="days without work, as 2026-05-01")

    def building(self, seed: int) -> Building:
        same = ("lunch_dip", "night_share", "weekend_share", "noise", "nominal_v", "frequency_hz")
        return Building(
            seed=seed,
            utc_offset_h=self.utc_offset_h,
            work_from_h=self.work_from,
            work_to_h=self.work_to,
            lunch_from_h=self.lunch_from,
            lunch_to_h=self.lunch_to,
            holidays=frozenset(self.holidays),
            **{name: getattr(self, name) for name in same},
        )


class MeterSection(Section):
    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    unit: int = Field(ge=1, le=247, description="Modbus unit id, 1 to 247")
    profile: str = Field(description="name of a profile")
    load_kw: float = Field(default=20.0, gt=0, le=100_000, description="what it draws on a usual working day")
    night_share: float | None = Field(
        default=None, ge=0, le=1, description="where it differs from the building's"
    )
    parameters: dict[str, float] = Field(default={}, description="of the profile, such as ct")
    gaps: Gaps = Field(default="as_profile", description="whether unmapped registers can be read, as zero")
    anomalies: tuple[Anomaly, ...] = ()
    faults: tuple[Fault, ...] = ()


class RackSection(Section):
    port: int = Field(default=0, ge=0, le=65535, description="TCP port; 0: a free one")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    meters: tuple[MeterSection, ...] = Field(min_length=1, description="at least one")
    faults: tuple[Fault, ...] = Field(default=(), description="of the whole endpoint")


class Scenario(Section):
    scenario: str = Field(min_length=1, description="its name")
    title: str = ""
    seed: int = Field(default=1, ge=0, description="the same seed, the same building and faults")
    building: BuildingSection = BuildingSection()
    racks: tuple[RackSection, ...] = Field(default=(), description="Modbus TCP meters behind a gateway each")
    dlt645_lines: tuple[Dlt645LineSection, ...] = Field(default=(), description="DL/T 645 meters on a line")
    cjt188_lines: tuple[Cjt188LineSection, ...] = Field(default=(), description="CJ/T 188 meters on a line")
    radios: tuple[BleSection, ...] = Field(default=(), description="Bluetooth devices around an adapter")
    car_parks: tuple[CarParkSection, ...] = Field(default=(), description="parking sensors and controllers")

    @property
    def parts(self) -> Iterator[tuple[str, int, Any]]:
        """All that is not a rack: the key of its list, its place there, and its section."""
        for key in CHECKS:
            for index, section in enumerate(getattr(self, key)):
                yield key, index, section

    def on_free_ports(self) -> "Scenario":
        """The same, but each rack takes a port that nobody uses."""
        racks = tuple(rack.model_copy(update={"port": 0}) for rack in self.racks)
        return self.model_copy(update={"racks": racks})


CHECKS: dict[str, Callable[[Any], Iterator[Mistake]]] = {
    "dlt645_lines": dlt645_mistakes,
    "cjt188_lines": cjt188_mistakes,
    "radios": ble_mistakes,
    "car_parks": car_park_mistakes,
}
"""What is not a rack, by the key of its list: what finds mistakes in a section of it."""


class UnknownScenario(NeedsAHuman):
    """No scenario of that name ships with the simulators."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no scenario '{name}' ({suggest(name, scenario_names())})")
        self.name = name


def load_scenario(text: str | bytes, name: str) -> Scenario:
    """Read a scenario, checked as a whole. Raises DocumentMistakes; `name` is what it calls the file."""
    return load_document(text, Scenario, file=name, check=find_mistakes)


def scenario_names() -> list[str]:
    """Those that ship with the simulators."""
    folder = files("simulators").joinpath("scenarios")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def shipped_scenario(name: str) -> Scenario:
    """Raises UnknownScenario."""
    if name not in scenario_names():
        raise UnknownScenario(name)
    file = files("simulators").joinpath("scenarios", f"{name}.yaml")
    return load_scenario(file.read_bytes(), file.name)


def find_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself."""
    if not scenario.racks and not any(scenario.parts):
        yield Mistake((), "has nothing in it", "one of: racks, " + ", ".join(CHECKS))
    for key, index, section in scenario.parts:
        for mistake in CHECKS[key](section):
            yield dataclasses.replace(mistake, path=(key, index, *mistake.path))
    ids: set[str] = set()
    ports: set[tuple[str, int]] = set()
    for r, rack in enumerate(scenario.racks):
        if rack.port and (rack.host, rack.port) in ports:
            yield Mistake(("racks", r, "port"), f"port {rack.port} stands above already", "0: a free one")
        ports.add((rack.host, rack.port))
        units: set[int] = set()
        for m, meter in enumerate(rack.meters):
            path = ("racks", r, "meters", m)
            if meter.id in ids:
                yield Mistake((*path, "id"), f"a meter '{meter.id}' stands above already")
            if meter.unit in units:
                yield Mistake((*path, "unit"), f"unit {meter.unit} stands above already in this rack")
            ids.add(meter.id)
            units.add(meter.unit)
            for mistake in _meter_mistakes(meter):
                yield dataclasses.replace(mistake, path=(*path, *mistake.path))


def _meter_mistakes(meter: MeterSection) -> Iterator[Mistake]:
    try:
        profile = profile_of(meter.profile, ModbusProfile)
    except UnknownProfile as err:
        yield Mistake(("profile",), f"there is no profile '{meter.profile}'", err.hint)
        return
    except DocumentMistakes as err:
        yield Mistake(("profile",), f"the profile is wrong: {err.problems[0]}")
        return
    except WrongFamily as err:
        yield Mistake(("profile",), f"'{meter.profile}' is no Modbus device but one of {err.family}")
        return
    yield from parameter_mistakes(profile, meter.parameters)
    known = [point.name for point in profile.points]
    for a, anomaly in enumerate(meter.anomalies):
        for name in anomaly.points if isinstance(anomaly, Jump) else ():
            if name not in known:
                path = ("anomalies", a, "points")
                yield Mistake(path, f"there is no point '{name}'", suggest(name, known))
