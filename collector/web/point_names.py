"""Says in words what a point is: "active_power_l1_kw" is 有功功率 L1.

Profiles name points in English words with the unit at the end. Words that are not known here stay as they
are, so a new profile needs nothing here to be readable.
"""

import re
from typing import Final

from collector.web.texts import Language

_PHRASES: Final[dict[str, str]] = {
    "active_power": "有功功率",
    "reactive_power": "无功功率",
    "apparent_power": "视在功率",
    "power_factor": "功率因数",
    "demand": "需量",
    "demand_max": "最大需量",
    "reactive_energy_import": "正向无功电能",
    "reactive_energy_export": "反向无功电能",
    "reactive_energy": "无功电能",
    "energy_import": "正向电能",
    "energy_export": "反向电能",
    "energy_total": "总电能",
    "energy_heat": "热量",
    "energy_cooling": "冷量",
    "temperature_flow": "供水温度",
    "temperature_return": "回水温度",
    "energy": "电能",
    "power": "功率",
    "voltage": "电压",
    "current": "电流",
    "frequency": "频率",
    "volume": "累计体积",
    "flow": "流量",
    "temperature": "温度",
    "humidity": "湿度",
    "battery": "电池",
    "illuminance": "照度",
    "occupied": "占用",
    "door": "门",
    "door_open": "开门",
    "leak": "漏水",
    "signal": "信号强度",
    "status": "状态",
    "quadrant": "象限",
    "thd": "谐波畸变率",
    "neutral": "零线",
    "ln_avg": "相平均",
    "ll_avg": "线平均",
    "avg": "平均",
    "total": "合计",
    "spike": "尖",
    "peak": "峰",
    "flat": "平",
    "valley": "谷",
    "rate": "费率",
    "t2": "费率 2",
    "bay": "车位",
    "active_power_import": "正向有功功率",
    "active_power_export": "反向有功功率",
    "alarm": "报警",
    "apparent_energy_import": "正向视在电能",
    "apparent_energy_export": "反向视在电能",
    "battery_low": "电池电量低",
    "bays_free": "空闲车位",
    "bays_occupied": "占用车位",
    "bays_unknown": "状态未知车位",
    "bays_out_of_service": "停用车位",
    "cable_broken": "感应线断开",
    "cable_dirty": "感应线脏污",
    "cable_length_m": "感应线长度",
    "capacity": "容量",
    "charge": "电量",
    "charging": "充电",
    "discharging": "放电",
    "clock": "时钟",
    "clock_date": "时钟日期",
    "clock_time": "时钟时间",
    "consumed": "已用电量",
    "cycle_count": "循环次数",
    "distance": "距离",
    "distances_in_feet": "距离以英尺计",
    "sharp": "尖",
    "input": "开关量输入",
    "leak_distance_m": "漏水位置",
    "midpoint": "中点",
    "movement_count": "移动次数",
    "operating_time": "运行时间",
    "phase_angle": "相角",
    "pressure": "气压",
    "protection": "保护状态",
    "reactive_energy_capacitive": "容性无功电能",
    "reactive_energy_inductive": "感性无功电能",
    "remaining": "剩余",
    "return": "回水",
    "supply": "供水",
    "sensor_error": "传感器故障",
    "settled": "结算日",
    "starter": "启动电池",
    "thermal_power": "热功率",
    "tilted": "倾斜",
    "valve_state": "阀门状态",
}
_UNIT: Final = re.compile(
    r"_(a|v|[kmg]?w|[km]?va|k?var|[kmg]?wh|[km]?varh|hz|pct|c|k|m3|l|m3_per_h|m3_h|l_per_h|l_h|[gm]j|k?pa|bar|lx|ppm|s|min|h|d|dbm|mm|ah|deg|hpa|[km]?vah)$"
)
_PHASE: Final = re.compile(r"l([123])([123])?$")


def point_title(name: str, language: Language) -> str:
    """The words for a point's name in that language."""
    parts = _UNIT.sub("", name).split("_")
    words: list[str] = []
    while parts:
        size = _known_size(parts) if language == "zh" else 0
        if size:
            words.append(_PHRASES["_".join(parts[:size])])
            del parts[:size]
        else:
            words.append(_word(parts.pop(0), language))
    text = " ".join(filter(None, words))
    return text[:1].upper() + text[1:]


def _known_size(parts: list[str]) -> int:
    return next((n for n in range(len(parts), 0, -1) if "_".join(parts[:n]) in _PHRASES), 0)


def _word(part: str, language: Language) -> str:
    phase = _PHASE.match(part)
    if phase:
        return f"L{phase[1]}-L{phase[2]}" if phase[2] else f"L{phase[1]}"
    return part.upper() if len(part) == 1 or (language == "en" and part == "thd") else part
