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
}
_UNIT: Final = re.compile(
    r"_(a|v|[kmg]?w|[km]?va|k?var|[kmg]?wh|[km]?varh|hz|pct|c|k|m3|l|m3_per_h|l_per_h|[gm]j|k?pa|bar|lx|ppm|s|dbm)$"
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
