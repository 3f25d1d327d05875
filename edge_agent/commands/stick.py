"""`edge-agent export` and `edge-agent receipts`: a collector without a network, there and back."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from edge_agent.app import Machine
from edge_agent.commands.alone import opened_alone
from edge_agent.commands.answer import Answer
from edge_agent.commands.progress import counted
from edge_agent.commands.running import real_clock
from edge_agent.config import Config, load_config
from edge_agent.control import on_site
from edge_agent.control.client import AgentSaysNo, ask_agent
from edge_agent.identity.folder import Identity, IdentityDamaged, NotEnrolled, load_identity
from edge_agent.stick.contents import Contents, open_contents
from edge_agent.stick.stick import SealedUp, Settled, Stick
from edge_agent.stick.target import PART, check_room, place_for, written_whole
from models.errors import NeedsAHuman
from models.stick import (
    BATCHES_MAGIC,
    Manifest,
    StatementRefused,
    StickUnreadable,
    StickWriter,
    read_receipts,
    verify_statement,
)

MOST_TOLD: Final = 5  # refusals that are shown


class NoReceipts(NeedsAHuman):
    """The file holds nothing that can be acted on."""


def export(path: Path, target: Path, name: str, machine: Machine | None = None) -> Answer:
    """Bad news when some of what waits could not be sealed; all that could is written all the same."""
    config = load_config(path)
    identity = load_identity(config.state_dir, _known(config, name))
    sealed = _seal_all(config, name, identity, machine)
    with open_contents(config.buffer_file, name, sealed.again) as contents:
        if not contents.batches:
            facts = {"file": None, "batches": 0, "problem": sealed.problem}
            text = sealed.problem or f"Nothing waits for the collector {name}; nothing was written."
            return Answer(facts, text, is_good=not sealed.problem)
        now_ms = real_clock().now_ms()
        file = place_for(target, gateway_id=sealed.gateway_id, collector=name, now_ms=now_ms)
        check_room(file, contents.size)
        manifest = Manifest(gateway_id=sealed.gateway_id, collector=name, made_ms=now_ms)
        batches, size = _write(file, manifest, contents)
    facts = {
        "file": str(file),
        "gateway_id": sealed.gateway_id,
        "collector": name,
        "batches": batches,
        "bytes": size,
        "problem": sealed.problem,
    }
    text = (
        f"{file}: {batches} batches for the collector {name}, {size / (1 << 20):.1f} MB. Until its receipts "
        "are here, the same batches are exported again each time.\n"
        f"At the collector: collector import {file.name}"
    )
    if sealed.problem:
        text += f"\nNot in it are {sealed.left} readings and events: {sealed.problem}"
    return Answer(facts, text, is_good=not sealed.problem)


def receipts(path: Path, files: Sequence[Path], name: str | None, machine: Machine | None = None) -> Answer:
    """Bad news when anything was refused, or a file could not be read; what is good counts all the same."""
    config = load_config(path)
    identities = _identities(config, name)
    done = [_settle_file(config, file, identities, machine) for file in files]
    facts = [one.facts() for one in done]
    return Answer(
        {"files": facts}, "\n".join(one.text() for one in done), is_good=all(o.is_good for o in done)
    )


def _seal_all(config: Config, name: str, identity: Identity, machine: Machine | None) -> SealedUp:
    """Through the running agent; where none runs, with the buffer to ourselves."""
    with counted("sealing what waits") as show:
        until, made = 0, 0
        while True:
            answer = ask_agent(config.state_dir, on_site.Question(do="seal", collector=name, until=until))
            if answer is None:
                return asyncio.run(_seal_alone(config, name, identity, machine))
            if answer.error or answer.sealed is None:
                raise AgentSaysNo(answer.code, answer.error or "the agent has said nothing of it")
            sealed = answer.sealed
            until, made = sealed.until, made + sealed.batches
            show(made, None)
            if sealed.is_done:
                return sealed


async def _seal_alone(config: Config, name: str, identity: Identity, machine: Machine | None) -> SealedUp:
    async with opened_alone(config, machine) as (buffer, timekeeper):
        stick = Stick(buffer, timekeeper)
        with counted("sealing what waits") as show:
            until, made, max_items = 0, 0, config.collector(name).max_items
            while True:
                sealed = await stick.seal(name, identity, max_items=max_items, until=until)
                until, made = sealed.until, made + sealed.batches
                show(made, None)
                if sealed.is_done:
                    return sealed


def _write(file: Path, manifest: Manifest, contents: Contents) -> tuple[int, int]:
    """How many batches were written, and how many bytes."""
    part = f"{manifest.gateway_id}-{manifest.collector}{PART}"
    with written_whole(file, part=part) as opened, counted("writing") as show:
        writer, batches, keys = StickWriter(opened, BATCHES_MAGIC), 0, set[bytes]()
        writer.add_manifest(manifest)
        for done, batch in enumerate(contents.batches, start=1):
            body, package = contents.body(batch.number), contents.package(batch.key_id)
            if body is None:
                continue  # it was settled meanwhile
            if package is not None and batch.key_id not in keys:
                writer.add_package(package)
                keys.add(batch.key_id)
            writer.add_envelope(body)
            batches += 1
            show(done, len(contents.batches))
        writer.end()
    return batches, writer.size


def _known(config: Config, name: str) -> str:
    names = [collector.name for collector in config.collectors]
    if name not in names:
        raise NeedsAHuman(
            f"{config.file}: there is no collector {name!r}; those that there are: {', '.join(names)}"
        )
    return name


def _identities(config: Config, name: str | None) -> dict[str, Identity]:
    if name is not None:
        return {name: load_identity(config.state_dir, _known(config, name))}
    found: dict[str, Identity] = {}
    for collector in config.collectors:
        with contextlib.suppress(NotEnrolled, IdentityDamaged):
            found[collector.name] = load_identity(config.state_dir, collector.name)
    if not found:
        raise NotEnrolled(config.state_dir)
    return found


class _Done:
    """What came of one file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.settled: list[Settled] = []
        self.of_others = 0  # statements to other gateways
        self.forged = 0  # that none of our collectors has made
        self.damage = ""

    @property
    def is_good(self) -> bool:
        refused = any(one.refused for one in self.settled)
        return bool(self.settled) and not (self.forged or self.damage or refused)

    def facts(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "delivered": sum(one.delivered for one in self.settled),
            "known": sum(one.known for one in self.settled),
            "refused": [text for one in self.settled for text in one.refused],
            "put_aside": sum(one.put_aside for one in self.settled),
            "began_epoch": any(one.began_epoch for one in self.settled),
            "missing": self.settled[-1].missing if self.settled else 0,
            "new_key": any(one.new_key for one in self.settled),
            "of_others": self.of_others,
            "forged": self.forged,
            "damage": self.damage,
        }

    def text(self) -> str:
        facts = self.facts()
        lines = [
            f"{self.file}: {facts['delivered']} batches are delivered"
            + (
                f"; of {facts['known']} more it was known, or they are not under way"
                if facts["known"]
                else ""
            )
        ]
        refused: list[str] = facts["refused"]
        lines += [f"  Refused: {text}" for text in refused[:MOST_TOLD]]
        if len(refused) > MOST_TOLD:
            lines.append(f"  and {len(refused) - MOST_TOLD} more refused")
        if refused or facts["missing"]:
            lines.append("  More is to be carried: edge-agent export")
        if self.of_others:
            lines.append(f"  {self.of_others} parts of it are for other gateways.")
        if self.forged:
            lines.append(
                f"  {self.forged} parts were made by none of this gateway's collectors, or changed on their "
                "way, and count for nothing."
            )
        if self.damage:
            lines.append(f"  Not read to its end: {self.damage}")
        return "\n".join(lines)


def _settle_file(
    config: Config, file: Path, identities: dict[str, Identity], machine: Machine | None
) -> _Done:
    done = _Done(file)
    asked: list[tuple[str, bytes]] = []
    for name, signed in _ours(file, identities, done):
        answer = None
        if not asked:
            question = on_site.Question(
                do="settle", collector=name, statement=base64.b64encode(signed).decode()
            )
            answer = ask_agent(config.state_dir, question)
        if answer is None:
            asked.append((name, signed))
        elif answer.error or answer.settled is None:
            raise AgentSaysNo(answer.code, answer.error or "the agent has said nothing of it")
        else:
            done.settled.append(answer.settled)
    if asked:
        done.settled += asyncio.run(_settle_alone(config, asked, identities, machine))
    return done


async def _settle_alone(
    config: Config,
    asked: Sequence[tuple[str, bytes]],
    identities: dict[str, Identity],
    machine: Machine | None,
) -> list[Settled]:
    async with opened_alone(config, machine) as (buffer, timekeeper):
        stick = Stick(buffer, timekeeper)
        return [await stick.settle(name, identities[name], signed) for name, signed in asked]


def _ours(file: Path, identities: dict[str, Identity], done: _Done) -> Iterator[tuple[str, bytes]]:
    """The statements that a collector of this gateway has made to it, with its name."""
    try:
        with file.open("rb") as opened:
            for signed in read_receipts(opened):
                name = _whose(signed, identities, done)
                if name is not None:
                    yield name, signed
    except StickUnreadable as err:
        done.damage = str(err)
    except OSError as err:
        raise NoReceipts(f"{file}: {err.strerror}; is it the right stick?") from err


def _whose(signed: bytes, identities: dict[str, Identity], done: _Done) -> str | None:
    codes: set[str] = set()
    for name, identity in identities.items():
        try:
            verify_statement(
                signed, gateway_id=identity.gateway_id, public_key=identity.collector.command_key
            )
        except StatementRefused as err:
            codes.add(err.code)
        else:
            return name
    if "foreign-gateway" in codes:
        done.of_others += 1
    else:
        done.forged += 1
    return None
