"""The files of the demonstration: what a technician and a tester would write for this building."""

import shutil
from pathlib import Path

import yaml

from simulators.scenario import Scenario

READ_EVERY_S = 3600  # simulated

NAMES = {
    "m-01": "大堂与电梯",
    "m-02": "一层照明插座",
    "m-03": "二层照明插座",
    "m-04": "三层照明插座",
    "m-05": "四层照明插座",
    "m-06": "信息机房",
    "m-07": "厨房餐厅",
    "m-08": "东区空调机组",
    "m-09": "西区空调机组",
    "m-10": "室外景观照明",
    "m-11": "1号冷机",
    "m-12": "2号冷机",
    "m-13": "冷却泵",
    "m-14": "冷冻泵",
    "m-15": "冷却塔",
    "m-16": "1号进线",
    "m-17": "2号进线",
    "m-18": "充电桩",
    "m-19": "消防设备",
    "m-20": "门卫",
}
"""What the people of the building call its meters."""


def empty(folder: Path) -> None:
    """Make `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def gateway_yaml(scenario: Scenario, ports: list[int], health_port: int) -> str:
    """What a technician writes for this building."""
    buses = [
        {"id": f"rack-{n}", "modbus_tcp": {"host": "127.0.0.1", "port": port}}
        for n, port in enumerate(ports, 1)
    ]
    devices = [
        {"id": meter.id, "name": NAMES.get(meter.id, meter.id), "bus": f"rack-{n}", "unit": meter.unit,
         "profile": meter.profile, "period_s": READ_EVERY_S, "parameters": dict(meter.parameters)}
        for n, rack in enumerate(scenario.racks, 1)
        for meter in rack.meters
    ]  # fmt: skip
    document = {
        "gateway": {"state_dir": "state"},
        "health": {"host": "127.0.0.1", "port": health_port},
        "uplink": {"live_every_s": READ_EVERY_S, "max_items": 5000},
        "buses": buses,
        "devices": devices,
    }
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
