"""Turns what a search has found into text, plain facts, and the part of gateway.yaml that would read it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from edge_agent.commands.answer import Answer, table
from edge_agent.commands.searching import Device, Searched
from edge_agent.config import BusSection
from models.profile import Profile

PERIOD_S = 60
_LONGEST_BUS_ID = 48  # leaves 16 of the 64 characters of a device's id for its place on the bus


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A device as it would stand in gateway.yaml; `is_sure` when one profile fits better than all others."""

    entry: dict[str, Any]
    device: Device
    is_sure: bool


def bus_id(*words: object) -> str:
    """An id made of what leads to a bus."""
    return re.sub(r"[^\w.]+", "-", "-".join(map(str, words)))[:_LONGEST_BUS_ID].strip("-") or "bus"


def found_answer(
    searched: Sequence[Searched],
    profiles: Mapping[str, Profile],
    *,
    known: Mapping[int | str, str] | None = None,
    as_yaml: bool = False,
) -> Answer:
    """Bad news when nothing was found. `known` are devices of the configuration, by place, with their ids."""
    known = known or {}
    proposals = {at.bus.id: _proposals(at, known) for at in searched}
    data = {
        "buses": [_facts(at, proposals[at.bus.id], known) for at in searched],
        "proposed": {
            "buses": [_bus(at.bus) for at in searched if at.devices],
            "devices": [one.entry for of_bus in proposals.values() for one in of_bus if one.is_sure],
        },
    }
    is_good = any(at.devices for at in searched)
    text = _yaml(searched, proposals, profiles, known)
    if not as_yaml:
        parts = [_table(at, proposals[at.bus.id], known) for at in searched] or ["Nothing was found."]
        text = "\n\n".join([*parts, *([text] if is_good else [])])
    return Answer(data, text, is_good=is_good)


def _place_of(device: Device) -> int | str:
    return device.unit if device.unit is not None else device.address or ""


def _proposals(at: Searched, known: Mapping[int | str, str]) -> list[_Proposal]:
    taken = set(known.values())
    proposals = []
    for device in at.devices:
        place = _place_of(device)
        if place in known:
            continue
        name = f"{at.bus.id[:_LONGEST_BUS_ID]}-{place}"
        while name in taken:
            name += "x"
        taken.add(name)
        best, others = device.candidates[:1], device.candidates[1:2]
        is_sure = bool(best) and all(other.score < best[0].score for other in others)
        entry = {
            "id": name,
            "bus": at.bus.id,
            **({"unit": device.unit} if device.address is None else {"address": device.address}),
            "profile": best[0].profile if is_sure else "?",
            "period_s": PERIOD_S,
        }
        proposals.append(_Proposal(entry, device, is_sure))
    return proposals


def _bus(bus: BusSection) -> dict[str, Any]:
    return {"id": bus.id, **bus.model_dump(include={bus.kind}, exclude_unset=True)}


def _facts(at: Searched, proposals: Sequence[_Proposal], known: Mapping[int | str, str]) -> dict[str, Any]:
    entries = {_place_of(one.device): one.entry for one in proposals if one.is_sure}
    return {
        **_bus(at.bus),
        "asked": at.asked,
        "remarks": list(at.remarks),
        "found": [
            {
                **({"unit": device.unit} if device.address is None else {"address": device.address}),
                "took_ms": device.took_ms,
                "any_unit": device.any_unit,
                "identification": device.identification,
                "candidates": [
                    {"profile": one.profile, "score": one.score, "reasons": list(one.reasons)}
                    for one in device.candidates
                ],
                "device": known.get(_place_of(device)),
                "proposed": entries.get(_place_of(device)),
            }
            for device in at.devices
        ],
    }


def _table(at: Searched, proposals: Sequence[_Proposal], known: Mapping[int | str, str]) -> str:
    sure = {_place_of(one.device) for one in proposals if one.is_sure}
    rows = []
    for device in at.devices:
        place = _place_of(device)
        profiles = ", ".join(one.profile for one in device.candidates)
        if place in known:
            profile = f"is {known[place]}"
        elif place in sure:
            profile = device.candidates[0].profile
        else:
            profile = f"one of: {profiles}" if profiles else "none fits"
        took = "" if device.took_ms is None else f"{device.took_ms} ms"
        why = _on_one_line("; ".join(device.candidates[0].reasons)) if place in sure else ""
        rows.append([_told_place(device), took, _self(device), profile, why])
    lines = [
        f"{at.endpoint}: {len(rows) or 'nothing'} found; {at.asked} units were asked",
        *map(_on_one_line, at.remarks),
    ]
    if rows:
        lines += ["", table(["place", "answers in", "calls itself", "profile", "why"], rows)]
    elif at.bus.serial is not None:
        lines.append("Are speed and parity right? Many DL/T 645 meters have --baud 2400 --parity even.")
    return "\n".join(lines)


def _told_place(device: Device) -> str:
    return f"{device.place}, as any other" if device.any_unit else device.place


def _self(device: Device) -> str:
    return _on_one_line(" ".join(filter(None, device.identification.values())))


def _yaml(
    searched: Sequence[Searched],
    proposals: Mapping[str, Sequence[_Proposal]],
    profiles: Mapping[str, Profile],
    known: Mapping[int | str, str],
) -> str:
    """It loads as it stands. What a person must decide is a comment, and so is all that devices say."""
    lines = ["# What edge-agent scan has found, for gateway.yaml. Choose ids and periods now: the collector",
             "# knows devices by their ids, so that these stay."]  # fmt: skip
    buses = [at.bus for at in searched if at.devices]
    if not buses:
        lines = ["# edge-agent scan has found nothing."]
    for at in searched:
        lines += [f"# {at.endpoint}: {_on_one_line(remark)}" for remark in at.remarks]
        if not at.devices:
            lines.append(f"# {at.endpoint}: none of {at.asked} units answers")
    if buses:
        lines.append("buses:")
    for bus in buses:
        lines += _item(_bus(bus))
    every = [one for of_bus in proposals.values() for one in of_bus]
    if every:
        lines.append("devices:" if any(one.is_sure for one in every) else "# devices:")
    for at in searched:
        for device in at.devices:
            if _place_of(device) in known:
                lines.append(f"  # {device.place} is {known[_place_of(device)]} already")
        for one in proposals[at.bus.id]:
            lines += [f"  # {_on_one_line(told)}" for told in _comments(one, profiles)]
            lines += [line if one.is_sure else _commented(line) for line in _item(one.entry)]
    return "\n".join(lines)


def _comments(proposal: _Proposal, profiles: Mapping[str, Profile]) -> Iterable[str]:
    device = proposal.device
    if device.identification:
        yield f"{device.place} calls itself {_self(device)}"
    if device.any_unit:
        yield f"it answers to every unit id; {device.unit} is just the first"
    if proposal.is_sure:
        best = device.candidates[0]
        yield f"{device.place}: {'; '.join(best.reasons)}"
        if not profiles[best.profile].verified:
            yield "nobody has checked this profile against a source: compare values"
        return
    if not device.candidates:
        yield f"{device.place}: no profile fits; choose one, such as edge-agent profiles list shows"
        return
    yield f"{device.place}: these fit alike, and others may; choose one"
    for candidate in device.candidates:
        yield f"  {candidate.profile} ({profiles[candidate.profile].title}): {'; '.join(candidate.reasons)}"


def _item(entry: dict[str, Any]) -> list[str]:
    text = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=1000)
    return [f"  {line}" for line in text.splitlines()]


def _commented(line: str) -> str:
    return f"  # {line[2:]}"


def _on_one_line(text: str) -> str:
    """What a device says of itself must neither end a comment nor move the cursor of a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
