"""The files of the demonstration: what a technician and a tester would write for this building."""

import shutil
from pathlib import Path
from typing import Any

import yaml

SEND_EVERY_S = 60  # simulated

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
    "rack-meter-1": "一层配电箱",
    "rack-meter-2": "二层配电箱",
    "line-meter-1": "三层配电箱",
    "line-meter-2": "四层配电箱",
    "line-contacts": "配电间开关量",
    "line-climate": "机房环境",
    "grid-meter-1": "供电局总表",
    "grid-meter-2": "值班室电表",
    "water-1": "总水表",
    "heat-1": "供热热量表",
    "gas-1": "食堂燃气表",
    "ble-meter-1": "蓝牙插座电表",
    "ble-climate-1": "档案室温湿度",
    "ble-ruuvi-1": "机房温湿度",
    "door-1": "东门门禁",
    "reader-1": "机房读卡器",
    "reader-2": "档案室读卡器",
    **{f"bay-{n}": f"{n}号车位" for n in range(1, 7)},
    **{f"ramp-{n}": f"坡道{n}号车位" for n in range(1, 3)},
    "parking-1-zone": "地面停车场",
    "zone-controller-1": "地下车位控制器",
}
"""What the people of the building call its meters."""


def empty(folder: Path) -> None:
    """Make `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def gateway_yaml(
    buses: list[dict[str, Any]], devices: list[dict[str, Any]], health_port: int, every_s: float | None
) -> str:
    """What a technician writes for this building. `every_s`: how often to read and send, if not as told."""
    named = [
        {
            **device,
            "name": NAMES.get(device["id"], device["id"]),
            **({"period_s": every_s} if every_s else {}),
        }
        for device in devices
    ]
    document = {
        "gateway": {"state_dir": "state"},
        "health": {"host": "127.0.0.1", "port": health_port},
        "uplink": {"live_every_s": every_s or SEND_EVERY_S, "max_items": 5000},
        "buses": buses,
        "devices": named,
    }
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
