"""Makes profiles for tests out of the few things a test is about."""

from typing import Any

from models.profile.modbus import ModbusPoint, ModbusProfile, ModbusSection


def a_point(name: str, address: int, type_: str = "uint16", **more: Any) -> ModbusPoint:
    """A point of a holding register, unless told otherwise; values are whole numbers."""
    is_bit = more.get("table") in ("coil", "discrete") or type_ == "bool"
    settings: dict[str, Any] = {
        "name": name,
        "unit": "" if is_bit else "V",
        "kind": "state" if is_bit else "gauge",
        "table": "holding",
        "address": address,
        "type": "bool" if is_bit else type_,
        "decimals": 0,
    }
    return ModbusPoint(**(settings | more))


def a_profile(
    *points: ModbusPoint, parameters: dict[str, float] | None = None, **section: Any
) -> ModbusProfile:
    """A device with these points."""
    settings: dict[str, Any] = {"reply_timeout_s": 0.3, "retries": 1}
    return ModbusProfile(
        profile="test-meter",
        version="1",
        title="Test meter",
        family="modbus",
        verified=True,
        source="this test",
        modbus=ModbusSection(**(settings | section)),
        points=points,
        parameters=parameters or {},
    )
