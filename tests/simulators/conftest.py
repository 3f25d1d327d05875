"""A meter of every kind of register, on a building whose clock the tests move."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from models.profile import as_family, load_profile
from models.profile.modbus import ModbusProfile
from simulators.building import Building
from simulators.ledger import LedgerWriter
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.server import Endpoint
from tests.support.clocks import START_MS, VirtualClock

WALL_METER = """
profile: wall-meter
version: "1"
title: A meter with a register of every kind
family: modbus
verified: true
source: made for these tests
modbus:
  max_registers: 60
  max_gap: 4
  reply_timeout_s: 1.0
  forbidden: [{table: input, first: 0x0012, last: 0x0013}]
parameters: {ct: 1, pt: 1}
points:
  - {name: voltage_l1_v, unit: V, kind: gauge, table: input, address: 0x0000, type: float32, decimals: 2}
  - {name: voltage_l2_v, unit: V, kind: gauge, table: input, address: 0x0002, type: float32, decimals: 2}
  - {name: voltage_l3_v, unit: V, kind: gauge, table: input, address: 0x0004, type: float32, decimals: 2}
  - {name: current_l1_a, unit: A, kind: gauge, table: input, address: 0x0006, type: float32, decimals: 3}
  - {name: power_l1_w, unit: W, kind: gauge, table: input, address: 0x000C, type: float32, decimals: 1}
  - {name: power_total_kw, unit: kW, kind: gauge, table: input, address: 0x0010, type: float32, decimals: 3}
  - {name: frequency_hz, unit: Hz, kind: gauge, table: input, address: 0x0014, type: float32, decimals: 2}
  - {name: energy_import_kwh, unit: kWh, kind: counter, table: input, address: 0x0016, type: float32,
     decimals: 2}
  - {name: energy_total_kwh, unit: kWh, kind: counter, table: holding, address: 0, type: uint32, scale: 0.01,
     decimals: 2, multiply_by: [ct, pt]}
  - {name: energy_sharp_kwh, unit: kWh, kind: counter, table: holding, address: 2, type: uint32, scale: 0.01,
     decimals: 2}
  - {name: energy_peak_kwh, unit: kWh, kind: counter, table: holding, address: 4, type: uint32, scale: 0.01,
     decimals: 2}
  - {name: energy_flat_kwh, unit: kWh, kind: counter, table: holding, address: 6, type: uint32, scale: 0.01,
     decimals: 2}
  - {name: energy_valley_kwh, unit: kWh, kind: counter, table: holding, address: 8, type: uint32, scale: 0.01,
     decimals: 2}
  - {name: energy_small_kwh, unit: kWh, kind: counter, table: holding, address: 10, type: bcd32, scale: 0.01,
     decimals: 2, modulus: 1000, word_order: low_first}
  - {name: energy_import_wh, unit: Wh, kind: counter, table: holding, address: 12, type: int64, decimals: 0}
  - {name: voltage_av_v, unit: V, kind: gauge, table: holding, address: 16, type: uint16, scale: 0.1,
     decimals: 1, byte_order: little}
  - {name: temperature_c, unit: "°C", kind: gauge, table: holding, address: 17, type: int16, scale: 0.1,
     offset: -40, decimals: 1, min: -20, max: 80}
  - {name: ct_ratio, unit: "1", kind: gauge, table: holding, address: 18, type: uint16, decimals: 0}
  - {name: clock_s, unit: s, kind: gauge, table: holding, address: 20, type: uint32, decimals: 0}
  - {name: relay_on, unit: "", kind: state, table: holding, address: 30, type: bool, bit: 3}
  - {name: alarm_on, unit: "", kind: state, table: coil, address: 5, type: bool}
  - {name: door_open, unit: "", kind: state, table: discrete, address: 9, type: bool}
"""

Serving = Callable[..., AbstractAsyncContextManager[Endpoint]]


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def profile() -> ModbusProfile:
    return as_family(load_profile(WALL_METER, "wall-meter.yaml"), ModbusProfile)


@pytest.fixture
def a_meter(profile: ModbusProfile, virtual_clock: VirtualClock) -> Callable[..., ModbusMeter]:
    def make(meter_id: str = "m-01", **given: Any) -> ModbusMeter:
        settings: dict[str, Any] = {
            "unit": 1,
            "profile": profile,
            "building": Building(seed=7),
            "kw": 30.0,
            "origin_ms": START_MS,
            "now_ms": virtual_clock.now_ms,
        }
        return ModbusMeter(meter_id, **{**settings, **given})

    return make


@pytest.fixture
def serving(virtual_clock: VirtualClock) -> Serving:
    @asynccontextmanager
    async def serve(
        *meters: ModbusMeter, ledger: LedgerWriter | None = None, seed: int = 7
    ) -> AsyncIterator[Endpoint]:
        endpoint = Endpoint(
            meters,
            host="127.0.0.1",
            port=0,
            name="rack",
            seed=seed,
            origin_ms=START_MS,
            clock=virtual_clock.clock,
            ledger=ledger,
            wire_sleep=virtual_clock.sleep,
        )
        await endpoint.listen()
        try:
            yield endpoint
        finally:
            await endpoint.close()

    return serve


@pytest.fixture
def a_ledger(tmp_path: Path) -> Callable[[], LedgerWriter]:
    def make() -> LedgerWriter:
        return LedgerWriter(tmp_path / "ledger.jsonl", scenario="test", seed=7, start_ms=START_MS)

    return make


def values_of(meter: ModbusMeter, at_ms: int, names: Sequence[str]) -> list[float | None]:
    shown = meter.display(at_ms)
    return [shown[name] for name in names]
