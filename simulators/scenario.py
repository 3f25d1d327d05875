"""A scenario: a building, its racks of meters, and what goes wrong with them and when."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date
from importlib.resources import files
from typing import Any

from pydantic import Field

from models.document import Mistake, load_document
from models.document_hints import suggest
from models.errors import NeedsAHuman
from simulators.access.sections import DoorControllerSection, OsdpLineSection
from simulators.access.sections import find_line_mistakes as osdp_mistakes
from simulators.access.sections import find_mistakes as door_mistakes
from simulators.ble.sections import BleSection
from simulators.ble.sections import find_mistakes as ble_mistakes
from simulators.building import Building
from simulators.cjt188.sections import Cjt188LineSection
from simulators.cjt188.sections import find_mistakes as cjt188_mistakes
from simulators.dlt645.sections import Dlt645LineSection
from simulators.dlt645.sections import find_mistakes as dlt645_mistakes
from simulators.fields import HourOfDay, Section
from simulators.modbus.sections import ModbusLineSection, RackSection, meter_mistakes
from simulators.modbus.sections import find_mistakes as modbus_mistakes
from simulators.parking.sections import CarParkSection
from simulators.parking.sections import find_mistakes as car_park_mistakes


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


class Scenario(Section):
    scenario: str = Field(min_length=1, description="its name")
    title: str = ""
    seed: int = Field(default=1, ge=0, description="the same seed, the same building and faults")
    building: BuildingSection = BuildingSection()
    racks: tuple[RackSection, ...] = Field(default=(), description="Modbus TCP meters behind a gateway each")
    modbus_lines: tuple[ModbusLineSection, ...] = Field(default=(), description="Modbus RTU meters on a line")
    dlt645_lines: tuple[Dlt645LineSection, ...] = Field(default=(), description="DL/T 645 meters on a line")
    cjt188_lines: tuple[Cjt188LineSection, ...] = Field(default=(), description="CJ/T 188 meters on a line")
    radios: tuple[BleSection, ...] = Field(default=(), description="Bluetooth devices around an adapter")
    car_parks: tuple[CarParkSection, ...] = Field(default=(), description="parking sensors and controllers")
    door_controllers: tuple[DoorControllerSection, ...] = Field(
        default=(), description="door controllers with HTTP"
    )
    osdp_lines: tuple[OsdpLineSection, ...] = Field(default=(), description="door readers on a line")

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
    "modbus_lines": modbus_mistakes,
    "dlt645_lines": dlt645_mistakes,
    "cjt188_lines": cjt188_mistakes,
    "radios": ble_mistakes,
    "car_parks": car_park_mistakes,
    "door_controllers": door_mistakes,
    "osdp_lines": osdp_mistakes,
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
        for m, meter in enumerate(rack.meters):
            if meter.id in ids:
                what = f"a meter '{meter.id}' stands above already"
                yield Mistake(("racks", r, "meters", m, "id"), what)
        ids |= {meter.id for meter in rack.meters}
        for mistake in meter_mistakes(rack.meters):
            yield dataclasses.replace(mistake, path=("racks", r, "meters", *mistake.path))
