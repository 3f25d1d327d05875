"""A car park in a scenario."""

from collections.abc import Iterator

from pydantic import Field

from models.document import DocumentMistakes, Mistake
from models.document_hints import suggest
from models.profile import WrongFamily
from models.profile.parking_controller import ParkingControllerProfile
from simulators.faults import Fault
from simulators.fields import DurationMs, Section
from simulators.line.sections import LineSection
from simulators.parking.faults import SensorFault
from simulators.parking.sensors import MODELS
from simulators.profiles import UnknownProfile, profile_of

APPLICATION = "17c82e96-be03-4f38-aef3-f83d48582d97"


class BrokerSection(Section):
    """A broker of one's own, instead of one that is started."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)


class SensorsSection(Section):
    """Some sensors of one kind, each in a bay."""

    id: str = Field(
        min_length=1, max_length=50, description="of the first; the others count on: bay-1, bay-2"
    )
    profile: str = Field(description="name of a profile: " + ", ".join(MODELS))
    count: int = Field(default=1, ge=1, le=2000)
    alive_ms: DurationMs | None = Field(
        default=None, description="how often they say that they live; without it, as they are sold"
    )
    faults: tuple[SensorFault, ...] = ()

    @property
    def ids(self) -> list[str]:
        """One for each sensor."""
        return [self.id] if self.count == 1 else [f"{self.id}-{n}" for n in range(1, self.count + 1)]


class ControllerSection(Section):
    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    unit: int = Field(ge=1, le=254, description="its address on the line")
    profile: str = Field(default="ultrasonic-zone-e8", description="name of a profile")
    broken: tuple[int, ...] = Field(default=(), description="detectors that it cannot hear")
    faults: tuple[Fault, ...] = ()


class ControllerLineSection(LineSection):
    """A line of zone controllers of one kind."""

    baud: int | None = Field(
        default=9600, ge=300, le=4_000_000, description="what bytes take; null: no time at all"
    )
    controllers: tuple[ControllerSection, ...] = Field(min_length=1, description="at least one")
    faults: tuple[Fault, ...] = Field(default=(), description="of the whole line")


class RestartSection(Section):
    """The broker is away for a while; only for one that is started here."""

    after_ms: DurationMs = Field(description="from the scenario's start, as 2h")
    lasts_ms: DurationMs = Field(default=5_000, description="of the scenario's time")


class CarParkSection(Section):
    application: str = Field(default=APPLICATION, min_length=1, max_length=64, description="id at ChirpStack")
    broker: BrokerSection | None = Field(default=None, description="without it, Mosquitto is started")
    sensors: tuple[SensorsSection, ...] = ()
    lines: tuple[ControllerLineSection, ...] = ()
    broker_restarts: tuple[RestartSection, ...] = ()


def find_mistakes(section: CarParkSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself."""
    ids: set[str] = set()
    for s, sensors in enumerate(section.sensors):
        if sensors.profile not in MODELS:
            what = f"there is no simulated sensor '{sensors.profile}'"
            yield Mistake(("sensors", s, "profile"), what, suggest(sensors.profile, MODELS))
        if ids & set(sensors.ids):
            yield Mistake(("sensors", s, "id"), "stands above already")
        ids |= set(sensors.ids)
    for number, line in enumerate(section.lines):
        units: set[int] = set()
        for c, controller in enumerate(line.controllers):
            path = ("lines", number, "controllers", c)
            if controller.id in ids:
                yield Mistake((*path, "id"), f"a device '{controller.id}' stands above already")
            if controller.unit in units:
                yield Mistake((*path, "unit"), f"unit {controller.unit} stands above already on this line")
            ids.add(controller.id)
            units.add(controller.unit)
            try:
                profile_of(controller.profile, ParkingControllerProfile)
            except UnknownProfile as err:
                what = f"there is no profile '{controller.profile}'"
                yield Mistake((*path, "profile"), what, err.hint)
            except (WrongFamily, DocumentMistakes) as err:
                yield Mistake((*path, "profile"), str(err).splitlines()[0])
    if section.broker is not None and section.broker_restarts:
        yield Mistake(("broker_restarts",), "a broker that is not started here cannot be restarted")
