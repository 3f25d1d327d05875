"""Puts findings into words, Chinese and English: the number that matters first."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo


def consumption(data: Mapping[str, Any], *, start_ms: int, end_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of unusual consumption."""
    more = data["excess"] >= 0
    size, unit = f"{abs(data['excess']):.1f}", data["unit"]
    seen, expected = f"{data['seen']:.1f}", f"{data['expected']:.1f}"
    since, until = _clock(start_ms, zone), _clock(end_ms, zone)
    kgce = f"，折标准煤 {abs(data['kgce']):.1f} kgce，CO₂ {abs(data['co2']):.1f} kg" if "kgce" in data else ""
    coal = f", {abs(data['kgce']):.1f} kgce, {abs(data['co2']):.1f} kg of CO2" if "kgce" in data else ""
    return {
        "title": {
            "zh": f"{data['device']}用量异常{'偏高' if more else '偏低'}",
            "en": f"{data['device']} uses {'more' if more else 'less'} than usual",
        },
        "text": {
            "zh": f"{'多用' if more else '少用'} {size} {unit}{kgce}。{since} 至 {until} 用量 {seen} {unit}，"
            f"同类时段通常为 {expected} {unit}。请检查是否有设备未按时关闭或计量异常。",
            "en": f"{size} {unit} {'more' if more else 'less'}{coal}. From {since} to {until} it used {seen} "
            f"{unit}; such hours usually take {expected} {unit}. Look for equipment that was left on, and at "
            "the metering.",
        },
    }


def stuck(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a counter that stands still."""
    since = _clock(since_ms, zone)
    frozen = data["frozen_points"]
    zh = f"其余 {frozen} 个测点也完全不变，" if frozen else ""
    en = f"{frozen} other values have not changed either. " if frozen else ""
    return {
        "title": {"zh": f"{data['device']}读数停走", "en": f"{data['device']} has stopped counting"},
        "text": {
            "zh": f"读数 {data['hours']} 小时没有变化（自 {since}），同类时段通常用 {data['expected']:.1f} "
            f"{data['unit']}；以往最长停 {data['longest_before']} 小时。{zh}请检查表计、互感器和通信。",
            "en": f"For {data['hours']} hours (since {since}) it has shown the same value, while such hours "
            f"usually take {data['expected']:.1f} {data['unit']}; it never stood still for longer than "
            f"{data['longest_before']} hours. {en}Check the meter, its transformers and its line.",
        },
    }


def silent(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a gateway from which nothing arrives."""
    since = _clock(since_ms, zone)
    return {
        "title": {
            "zh": f"网关 {data['gateway']} 无数据，涉及 {data['devices']} 台设备",
            "en": f"Nothing from gateway {data['gateway']} with its {data['devices']} devices",
        },
        "text": {
            "zh": f"自 {since} 起 {data['minutes']} 分钟没有收到任何数据。"
            "网关会在本地保存读数，恢复后自动补传。请检查网关电源和网络。",
            "en": f"Nothing has arrived for {data['minutes']} minutes, since {since}. The gateway keeps its "
            "readings and sends them when it is back. Check its power and its network.",
        },
    }


def _clock(at_ms: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%m-%d %H:%M}"
