"""The simulated car park, with everything going wrong, against what the gateway stores of it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from drivers.line import SerialLine, StreamLine
from drivers.parking.broker import Broker
from drivers.parking.controller import ParkingControllerDriver
from drivers.parking.listener import ChirpStackListener
from drivers.parking.sensor import Sensor
from edge_agent.bays import Bays, Watched
from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.parking_controller import ParkingControllerProfile
from models.profile.parking_sensor import ParkingSensorProfile
from models.reading import Quality, Reading
from models.times import HOUR_MS
from simulators.ledger import LedgerWriter, Produced, happenings, produced
from simulators.parking.faults import KINDS
from simulators.parking.running import CarPark, running_car_park
from simulators.parking.sections import CarParkSection
from tests.support.clocks import VirtualClock, fast_clock
from tests.support.needs import needs_mosquitto
from tests.support.parking_sink import ParkingSink

SEED = 11
MORNING_MS = 1_789_948_800_000 - 2 * HOUR_MS  # 2026-09-21 06:00 in Shanghai, a Monday
DAY_H = 7
SPEED = 9_000.0
CATALOGUE = Catalogue()

ALL_FAULTS = [{"kind": kind, "probability": 0.04, "after": "1h"} for kind in KINDS if kind != "silent"]
SENSORS = CarParkSection.model_validate(
    {
        "sensors": [
            {"id": "bosch", "profile": "bosch-parking-lot-sensor", "count": 4, "alive": 1_800_000},
            {"id": "libelium", "profile": "libelium-smart-parking", "count": 4, "alive": 1_800_000},
            {"id": "milesight", "profile": "milesight-em310-udl", "count": 4, "alive": 1_800_000},
        ],
        "broker_restarts": [
            {"after": 3 * HOUR_MS, "lasts": HOUR_MS},
            {"after": 5 * HOUR_MS, "lasts": 60_000},
        ],
    }
)


def with_faults() -> CarParkSection:
    sensors = [
        {**sensors.model_dump(by_alias=True), "faults": ALL_FAULTS, "alive": sensors.alive_ms}
        for sensors in SENSORS.sensors
    ]
    return CarParkSection.model_validate({**SENSORS.model_dump(by_alias=True), "sensors": sensors})


def listener_of(park: CarPark, clock: object) -> tuple[ChirpStackListener, list[Watched]]:
    sensors, watched = [], []
    for device in park.devices("p"):
        if "address" not in device:
            continue
        profile = as_family(CATALOGUE.load(device["profile"]), ParkingSensorProfile)
        sensors.append(Sensor(device["id"], device["address"], profile, {}, device["period_s"]))
        limit_s = 2 * device["period_s"]
        watched.append(
            Watched(
                device_id=device["id"], point="occupied", source=profile.profile, limit_s=limit_s, zone="z"
            )
        )
    broker = Broker(host=park.host, port=park.port)
    return ChirpStackListener("p", broker, park.section.application, sensors, clock=clock), watched  # type: ignore[arg-type]  # a Clock


def counted(said: Iterable[Produced], to_ms: int = 1 << 62) -> Counter[tuple[str, str, float]]:
    return Counter((each.meter_id, each.point, each.value) for each in said if each.served_ms < to_ms)


def counted_readings(readings: Iterable[Reading]) -> Counter[tuple[str, str, float]]:
    return Counter((each.device_id, each.point, each.value or 0.0) for each in readings)


@needs_mosquitto
async def test_after_a_day_of_all_faults_and_broker_restarts_all_that_was_said_is_stored_once(
    tmp_path: Path,
) -> None:
    clock, sink = fast_clock(SPEED, MORNING_MS - HOUR_MS), ParkingSink()  # when all is still quiet
    ledger = LedgerWriter(tmp_path / "ledger", scenario="park", seed=SEED, start_ms=MORNING_MS)
    async with running_car_park(
        with_faults(), clock=clock, seed=SEED, origin_ms=MORNING_MS, ledger=ledger
    ) as park:
        listener, watched = listener_of(park, clock)
        bays = Bays(sink, watched, clock)
        task = asyncio.create_task(listener.run(bays))
        await clock.sleep((1 + DAY_H) * 3600)
        published = park.published
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ledger.close()
    said = list(produced(tmp_path / "ledger"))
    assert published > 100
    assert len(said) > 250
    end_ms = MORNING_MS + (DAY_H - 2) * HOUR_MS  # what was said after that may be under way
    readings = [item for item in sink.items if isinstance(item, Reading) and item.value is not None]
    times = Counter((each.device_id, each.point, each.measured_ms) for each in readings)
    assert max(times.values()) == 1
    assert not counted(said, end_ms) - counted_readings(readings)
    assert not counted_readings(each for each in readings if each.measured_ms < end_ms) - counted(said)
    for device in {each.device_id for each in watched}:
        happened = [h for h in happenings(tmp_path / "ledger") if h.device == device]
        told = [
            event.data["state"]
            for event in sink.events
            if event.device_id == device and event.kind == "bay.changed"
        ]
        known = [state for state, _ in itertools.groupby(state for state in told if state != "unknown")]
        assert known == [h.data["state"] for h in happened][: len(known)]
        assert len(known) >= sum(h.at_ms < end_ms for h in happened)


LINE_FAULTS = [
    *("lost", "late", "foreign_unit", "foreign_transaction", "garbled", "bad_checksum", "truncated", "echo"),
    *("duplicate", "exception"),
]
MORE: dict[str, dict[str, object]] = {"late": {"delay": "130ms"}, "exception": {"code": 1}}


def two_controllers(*, port: int | None) -> CarParkSection:
    faults = [{"kind": kind, "probability": 0.04, **MORE.get(kind, {})} for kind in LINE_FAULTS]
    controllers = [{"id": f"c-{unit}", "unit": unit, "broken": [unit]} for unit in (1, 2)]
    line = {"port": port, "baud": None, "controllers": controllers, "faults": faults}
    return CarParkSection.model_validate({"lines": [line]})


async def read_for_a_day(section: CarParkSection) -> tuple[int, int]:
    """How many values were good and how many polls were not; no good one may be wrong."""
    time = VirtualClock(MORNING_MS)
    profile = as_family(CATALOGUE.load("ultrasonic-zone-e8"), ParkingControllerProfile)
    quick = profile.controller.model_copy(update={"reply_timeout_s": 0.12})
    profile = profile.model_copy(update={"controller": quick})
    good = bad = 0
    async with running_car_park(section, clock=time.clock, seed=SEED, origin_ms=MORNING_MS) as park:
        [running] = park.lines
        line = (
            SerialLine(running.path, baud=9600, parity="none", stop_bits=1, clock=time.clock)
            if running.path
            else StreamLine("127.0.0.1", running.port, clock=time.clock)
        )
        [talker] = running.talkers
        drivers = [
            ParkingControllerDriver(
                device_id=controller.id,
                profile=profile,
                unit=controller.unit,
                line=line,
                parameters={},
                clock=time.clock,
            )
            for controller in talker.meters  # type: ignore[attr-defined]  # the controllers'
        ]
        for _ in range(12):
            await time.advance(20 * 60)
            for driver, controller in zip(drivers, talker.meters, strict=True):  # type: ignore[attr-defined]
                readings = await driver.read()
                true = controller.values(time.now_ms())
                bad += all(reading.value is None for reading in readings)
                for reading, value in zip(readings, true, strict=True):
                    if reading.quality is not Quality.BAD:
                        assert reading.value == value
                        good += 1
        for driver in drivers:
            await driver.close()
    return good, bad


async def test_no_bay_of_a_line_full_of_faults_has_a_wrong_state_behind_a_serial_server() -> None:
    good, bad = await read_for_a_day(two_controllers(port=0))
    assert good > 450
    assert bad > 0


async def test_no_bay_of_a_line_full_of_faults_has_a_wrong_state_on_a_serial_port() -> None:
    good, bad = await read_for_a_day(two_controllers(port=None))
    assert good > 450
    assert bad > 0
