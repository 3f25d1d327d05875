"""A scenario that runs: its endpoints, its meters, and the ledger of what they showed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from models.errors import BadInput
from models.profile.modbus import ModbusProfile
from models.times import Clock
from simulators.kinds import RUN, Served, Setting
from simulators.ledger import LedgerWriter
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.sections import RackSection
from simulators.modbus.server import Endpoint, Sleep
from simulators.profiles import profile_of
from simulators.scenario import Scenario

ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # looked for, not bound to
_NAMES = {
    "modbus_lines": "line",
    "dlt645_lines": "dlt645",
    "cjt188_lines": "cjt188",
    "radios": "radio",
    "car_parks": "parking",
    "door_controllers": "doors",
    "osdp_lines": "readers",
}
_LOOP_TURNS = 3  # in which the loop sees which connections are already closed from the other side


class NoSuchMeter(BadInput):
    """The scenario has no meter of that id."""


class Site:
    """What is served at present: `parts` is all of it, `endpoints` are the racks."""

    def __init__(
        self,
        scenario: Scenario,
        endpoints: list[Endpoint],
        parts: list[Served],
        ledger: LedgerWriter | None,
        start_ms: int,
    ) -> None:
        self.scenario, self.endpoints, self.ledger, self.start_ms = scenario, endpoints, ledger, start_ms
        self.parts = [*map(_served, range(1, len(endpoints) + 1), endpoints), *parts]
        self._meters = {meter.id: meter for endpoint in endpoints for meter in endpoint.meters}

    @property
    def ports(self) -> list[int]:
        return [endpoint.port for endpoint in self.endpoints]

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's process needs in its environment."""
        return {name: value for part in self.parts for name, value in part.environment.items()}

    @property
    def secrets(self) -> dict[str, str]:
        """Files beside a gateway.yaml, by name; never to be shown."""
        return {name: value for part in self.parts for name, value in part.secrets.items()}

    @property
    def meters(self) -> list[ModbusMeter]:
        return list(self._meters.values())

    def meter(self, meter_id: str) -> ModbusMeter:
        """Its `faults.add` and `begin` make it misbehave. Raises NoSuchMeter."""
        try:
            return self._meters[meter_id]
        except KeyError:
            raise NoSuchMeter(f"no meter '{meter_id}' in {self.scenario.scenario}") from None

    def endpoint_of(self, meter_id: str) -> Endpoint:
        """Raises NoSuchMeter."""
        meter = self.meter(meter_id)
        return next(endpoint for endpoint in self.endpoints if meter in endpoint.meters)


@asynccontextmanager
async def running(
    scenario: Scenario,
    *,
    clock: Clock,
    ledger: Path | None = None,
    start_ms: int | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Site]:
    """Serve the scenario while the block runs. The ledger says that it ended well unless the block raises.

    `start_ms` is when the scenario began, where that is not now. `wire_sleep` waits for late replies, in
    real seconds. Raises CannotListen, AnomalyMistake and LedgerExists.
    """
    origin_ms = clock.now_ms() if start_ms is None else start_ms
    writer = None
    if ledger is not None:
        writer = LedgerWriter(ledger, scenario=scenario.scenario, seed=scenario.seed, start_ms=origin_ms)
    endpoints: list[Endpoint] = []
    try:
        for number, rack in enumerate(scenario.racks):
            meters = _meters(scenario, rack, origin_ms, clock)
            endpoint = Endpoint(
                meters,
                host=rack.host,
                port=rack.port,
                name=f"rack-{number}",
                seed=scenario.seed,
                origin_ms=origin_ms,
                clock=clock,
                ledger=writer,
                wire_sleep=wire_sleep,
            )
            for fault in rack.faults:
                endpoint.faults.add(fault)
            endpoints.append(endpoint)
        for endpoint in endpoints:
            await endpoint.listen()
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(e.run(), name=f"endpoint {e.port}") for e in endpoints]
            setting = Setting(
                building=scenario.building.building(scenario.seed),
                clock=clock,
                seed=scenario.seed,
                origin_ms=origin_ms,
                ledger=writer,
                wire_sleep=wire_sleep,
            )
            async with AsyncExitStack() as opened:
                parts = [
                    await opened.enter_async_context(RUN[key](section, f"{_NAMES[key]}-{index + 1}", setting))
                    for key, index, section in scenario.parts
                ]
                yield Site(scenario, endpoints, parts, writer, origin_ms)
            for _ in range(_LOOP_TURNS):
                await asyncio.sleep(0)
            if writer is not None:
                writer.end(clock.now_ms())
            for endpoint, run in zip(endpoints, runs, strict=True):
                run.cancel()
                endpoint.stop()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None  # that of the block, or what ended an endpoint
    finally:
        for endpoint in endpoints:
            await endpoint.close()
        if writer is not None:
            writer.close()


def _served(number: int, endpoint: Endpoint) -> Served:
    """A rack as a bus of gateway.yaml, and its meters as devices."""
    bus = f"rack-{number}"
    host = "127.0.0.1" if endpoint.host in ALL_ADDRESSES else endpoint.host
    devices = [
        {
            "id": meter.id,
            "name": meter.id,
            "bus": bus,
            "unit": meter.unit,
            "profile": meter.profile.profile,
            "period_s": 10,
            **({"parameters": dict(meter.parameters)} if meter.parameters else {}),
        }
        for meter in endpoint.meters
    ]
    buses = [{"id": bus, "modbus_tcp": {"host": host, "port": endpoint.port}}]
    return Served(name=bus, buses=buses, devices=devices, running=endpoint)


def _meters(scenario: Scenario, rack: RackSection, origin_ms: int, clock: Clock) -> list[ModbusMeter]:
    building = scenario.building.building(scenario.seed)
    meters = []
    for section in rack.meters:
        meter = ModbusMeter(
            section.id,
            unit=section.unit,
            profile=profile_of(section.profile, ModbusProfile),
            building=building,
            kw=section.load_kw,
            origin_ms=origin_ms,
            now_ms=clock.now_ms,
            night_share=section.night_share,
            parameters=section.parameters,
            gaps=section.gaps,
        )
        for anomaly in section.anomalies:
            meter.begin(anomaly)
        for fault in section.faults:
            meter.faults.add(fault)
        meters.append(meter)
    return meters
