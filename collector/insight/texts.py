"""Puts findings into words, Chinese and English: the number that matters first."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from models.protocol import Code


def consumption(data: Mapping[str, Any], *, start_ms: int, end_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of unusual consumption."""
    more = data["excess"] >= 0
    size, unit = f"{abs(data['excess']):.1f}", data["unit"]
    seen, expected = f"{data['seen']:.1f}", f"{data['expected']:.1f}"
    since, until = _clock(start_ms, zone), _clock(end_ms, zone)
    worth_zh, worth_en = _worth(data)
    return {
        "title": {
            "zh": f"{data['device']}用量异常{'偏高' if more else '偏低'}",
            "en": f"{data['device']} uses {'more' if more else 'less'} than usual",
        },
        "text": {
            "zh": f"{'多用' if more else '少用'} {size} {unit}{worth_zh}。{since} 至 {until} 用量 {seen} "
            f"{unit}，同类时段通常为 {expected} {unit}。请检查是否有设备未按时关闭或计量异常。",
            "en": f"{size} {unit} {'more' if more else 'less'}{worth_en}. From {since} to {until} it used "
            f"{seen} {unit}; such hours usually take {expected} {unit}. Look for equipment that was left on, "
            "and at the metering.",
        },
    }


def _worth(data: Mapping[str, Any]) -> tuple[str, str]:
    zh = en = ""
    if "kgce" in data:
        zh += f"，折标准煤 {abs(data['kgce']):.1f} kgce"
        en += f", {abs(data['kgce']):.1f} kgce"
    if "co2" in data:
        zh += f"，CO₂ {abs(data['co2']):.1f} kg"
        en += f", {abs(data['co2']):.1f} kg of CO2"
    if "cost" in data:
        zh += f"，费用 {abs(data['cost']):.2f} {data['currency']}"
        en += f", {abs(data['cost']):.2f} {data['currency']}"
    return zh, en


def stuck(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a counter that stands still."""
    since = _clock(since_ms, zone)
    expected = f"{data['expected']:.1f} {data['unit']}"
    return {
        "title": _stuck_title(data),
        "text": {
            "zh": f"读数 {data['hours']} 小时没有变化（自 {since}），同类时段通常用 {expected}；"
            f"以往最长停 {data['longest_before']} 小时。请检查表计、互感器和通信。",
            "en": f"For {data['hours']} hours (since {since}) it has shown the same value, while such hours "
            f"usually take {expected}; it never stood still for longer than {data['longest_before']} hours. "
            "Check the meter, its transformers and its line.",
        },
    }


def frozen(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a device whose values all stand still."""
    since, count = _clock(since_ms, zone), len(data["points"])
    return {
        "title": _stuck_title(data),
        "text": {
            "zh": f"自 {since} 起 {data['hours']} 小时内所有读数完全不变，其中 {count} 个测点以往同一时段"
            "每天都有变化。设备仍在应答，但返回的是旧数据。请检查表计和采集通道。",
            "en": f"Since {since}, for {data['hours']} hours, none of its values has changed, though {count} "
            "of them moved at that time of every day before. It answers, but with old values. Check the "
            "meter and its line.",
        },
    }


def _stuck_title(data: Mapping[str, Any]) -> dict[str, str]:
    return {"zh": f"{data['device']}读数停走", "en": f"The readings of {data['device']} stand still"}


def silent(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a gateway from which nothing arrives."""
    since = _clock(since_ms, zone)
    return {
        "title": {
            "zh": f"网关 {data['gateway']} 无数据，涉及 {data['devices']} 台设备",
            "en": f"Nothing from gateway {data['gateway']} with its {data['devices']} devices",
        },
        "text": {
            "zh": f"自 {since} 起没有收到任何数据，已超过 {data['allowed_minutes']} 分钟。"
            "网关会在本地保存读数，恢复后自动补传。请检查网关电源和网络。",
            "en": f"Nothing has arrived since {since}, for more than {data['allowed_minutes']} minutes. The "
            "gateway keeps its readings and sends them when it is back. Check its power and its network.",
        },
    }


_REFUSED = {
    Code.MALFORMED: ("格式不符", "not what belongs there"),
    Code.REVOKED: ("网关已吊销或证书不符", "of a revoked gateway or a foreign certificate"),
    Code.WRONG_SUITE: ("密码套件不符", "sealed by another suite"),
    Code.FOREIGN_GATEWAY: ("出自其他网关", "sealed by another gateway"),
    Code.CHAIN_BROKEN: ("批次链不连续", "not fitting the chain of batches"),
    Code.TOO_LARGE: ("超出大小上限", "too large"),
    Code.BAD_SIGNATURE: ("签名错误", "with a wrong signature"),
    Code.CANNOT_OPEN: ("无法解密", "not to be opened"),
}


def refused(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a gateway in whose name things are sent that must be refused."""
    since = _clock(since_ms, zone)
    kinds = [(*_REFUSED[code], count) for code, count in data["refused"].items()]
    zh = "、".join(f"{kind} {count} 次" for kind, _, count in kinds)
    en = ", ".join(f"{count} {kind}" for _, kind, count in kinds)
    return {
        "title": {
            "zh": f"安全事件：以网关 {data['gateway']} 名义发来的数据被拒收",
            "en": f"Security: data sent in the name of gateway {data['gateway']} is refused",
        },
        "text": {
            "zh": f"自 {since} 起拒收 {data['count']} 次：{zh}。被拒收的数据均未入库。"
            "请检查该网关是否被更换、复制或篡改，以及它与采集端之间的网络；必要时吊销该网关。",
            "en": f"Refused {data['count']} times since {since}: {en}. Nothing of it was stored. Find out "
            "whether the gateway was exchanged, copied or tampered with, and look at the network between it "
            "and the collector; revoke it if in doubt.",
        },
    }


def returning(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a gateway that asks to be taken back."""
    since, code = _clock(since_ms, zone), data["code"]
    return {
        "title": {
            "zh": f"网关 {data['gateway']} 申请恢复接入",
            "en": f"Gateway {data['gateway']} asks to be taken back",
        },
        "text": {
            "zh": f"该网关证书已过期，自 {since} 起申请恢复接入，核对代码 {code}。"
            "请与网关上 edge-agent status 显示的代码核对，一致则在总览页批准，或运行 "
            f"collector gateways approve {code}；不一致则拒绝。读数保留在网关本地，恢复后自动补传。",
            "en": f"Its certificate has ended, and it has been asking since {since}, with the code {code}. "
            "Compare the code with what `edge-agent status` shows on the gateway. If they are the same, "
            f"approve on the overview or by `collector gateways approve {code}`; if not, reject it. The "
            "gateway keeps its readings and sends them when it is back.",
        },
    }


def late(data: Mapping[str, Any], *, since_ms: int, zone: ZoneInfo) -> dict[str, Any]:
    """Title and text of a higher collector that gets nothing though something waits for it."""
    since = _clock(since_ms, zone)
    return {
        "title": {
            "zh": "数据未能转发至上级采集端",
            "en": "Nothing gets to the higher collector",
        },
        "text": {
            "zh": f"自 {since} 起没有数据转发成功，涉及 {data['gateways']} 个网关。"
            "数据均保留在本端，恢复后补发。请运行 collector upstream status 查看原因。",
            "en": f"Nothing was forwarded since {since}; it concerns {data['gateways']} gateways. All "
            "of it is kept here and sent later. `collector upstream status` says why.",
        },
    }


def _clock(at_ms: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%m-%d %H:%M}"
