"""Puts into words what happened to a counter."""

from typing import Any, Final

from collector.insight.findings import Found
from models.energy import Notice, NoticeKind

DETECTOR: Final = "counter"

LEAVES_OUT: Final = frozenset({NoticeKind.RESET, NoticeKind.TOO_FAST, NoticeKind.AMBIGUOUS})
"""What leaves a hole in the consumption, so that a person must look at the meter."""

_TITLES: Final = {
    NoticeKind.ROLLOVER: ("计数器翻转", "Counter rolled over"),
    NoticeKind.RESET: ("读数回退", "Counter fell"),
    NoticeKind.TOO_FAST: ("读数增长过快", "Counter grew too fast"),
    NoticeKind.GLITCH: ("读数瞬时异常", "Passing wrong readings"),
    NoticeKind.AMBIGUOUS: ("读数回落后恢复", "Counter fell and came back"),
}
_TEXTS: Final = {
    NoticeKind.ROLLOVER: (
        "读数由 {before} 回到 {after}，符合满量程翻转，用量已按翻转计算。",
        "It went from {before} to {after} as it does at its end; the consumption counts on.",
    ),
    NoticeKind.RESET: (
        "读数由 {before} 降到 {after}：可能已清零或换表。该时段不计入用量，请核实。",
        "It fell from {before} to {after}: reset, or another meter in its place. That time is left out of "
        "the consumption; please check.",
    ),
    NoticeKind.TOO_FAST: (
        "读数由 {before} 升到 {after}，超过该表可能的速度。该时段不计入用量，请核实。",
        "It went from {before} to {after}, faster than this meter can count. That time is left out of the "
        "consumption; please check.",
    ),
    NoticeKind.GLITCH: (
        "{before} 与 {after} 之间有个别读数偏低，已忽略，用量不受影响。",
        "A few readings between {before} and {after} were too low and are ignored; nothing is lost.",
    ),
    NoticeKind.AMBIGUOUS: (
        "{before} 与 {after} 之间读数曾回落，无法判断是误读还是清零。该时段不计入用量，请核实。",
        "Between {before} and {after} it fell; that may be a wrong reading or a reset. That time is left out "
        "of the consumption; please check.",
    ),
}


def as_found(notice: Notice, *, device: str, point: str, unit: str, decimals: int) -> Found:
    """The finding that a notice becomes."""
    amounts = {name: f"{getattr(notice, name):.{decimals}f} {unit}".strip() for name in ("before", "after")}
    return Found(
        start_ms=notice.start_ms,
        end_ms=notice.end_ms,
        score=1.0 if notice.kind in LEAVES_OUT else 0.0,
        data=_data(notice, amounts, f"{device} · {point}") | {"unit": unit, "device": device, "point": point},
    )


def _data(notice: Notice, amounts: dict[str, str], subject: str) -> dict[str, Any]:
    title, text = _TITLES[notice.kind], _TEXTS[notice.kind]
    return {
        "kind": notice.kind.value,
        "title": {"zh": f"{title[0]}：{subject}", "en": f"{title[1]}: {subject}"},
        "text": {"zh": text[0].format(**amounts), "en": text[1].format(**amounts)},
        "before": notice.before,
        "after": notice.after,
    }
