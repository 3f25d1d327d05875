"""`collector import`: takes in what a stick brought, and writes the receipts that it carries back."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import typer

from collector.commands.answer import Answer
from collector.commands.running import REAL
from collector.identity.enrolment import Enrolment
from collector.identity.home import Home, sync_folder
from collector.intake.service import Intake
from collector.intake.stick import StickIntake, Taken
from collector.settings import load_settings
from collector.store.engine import Store
from models.errors import NeedsAHuman
from models.stick import BATCHES_SUFFIX, RECEIPTS_MAGIC, RECEIPTS_SUFFIX, StickWriter
from models.times import utc_text

PART: Final = ".part"


class CannotImport(NeedsAHuman):
    """A file cannot be read, or the receipts cannot be written. What was stored before stays stored."""


def import_files(folder: Path, named: Sequence[Path], receipts: Path | None) -> Answer:
    """Bad news when anything was refused or could not be read; all that is whole is taken in all the same."""
    files = _files(named)
    if receipts is not None and receipts.resolve() in {file.resolve() for file in files}:
        raise CannotImport(f"{receipts}: is a file that is to be read; name another for the receipts")

    async def run() -> list[tuple[Path, Taken, Path | None]]:
        async with _stick_intake(folder) as intake:
            if receipts is not None:
                with _receipts_at(receipts) as telling:
                    taken = [await _take(intake, file, telling.tell) for file in files]
                return [(file, one, telling.path) for file, one in zip(files, taken, strict=True)]
            done: list[tuple[Path, Taken, Path | None]] = []
            for file in files:
                with _receipts_at(file.with_suffix(RECEIPTS_SUFFIX)) as telling:
                    one = await _take(intake, file, telling.tell)
                done.append((file, one, telling.path))
            return done

    done = asyncio.run(run())
    facts = [_facts(*one) for one in done]
    text = "\n".join(_text(*one) for one in done)
    return Answer({"files": facts}, text, is_good=all(taken.is_good for _, taken, _ in done))


@contextlib.asynccontextmanager
async def _stick_intake(folder: Path) -> AsyncIterator[StickIntake]:
    """Beside a collector that serves from the same folder, or alone."""
    lives = load_settings(folder).certificates.lives
    home = Home(folder)
    authority, keyring, key = home.authority(), home.keyring(), home.commanding_key()
    async with await Store.open(home.database) as store, Intake(store, keyring, REAL) as intake:
        enrolment = Enrolment(store, authority, keyring, key.public_bytes(), lives=lives)
        yield StickIntake(intake, key, enrolment.collector_key, REAL.now_ms)


def _files(named: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in named:
        found = sorted(path.glob(f"*{BATCHES_SUFFIX}")) if path.is_dir() else [path]
        if not found:
            raise CannotImport(
                f"{path}: holds no file that ends with {BATCHES_SUFFIX}; is it the right stick?"
            )
        files += found
    return files


async def _take(intake: StickIntake, path: Path, tell: Callable[[bytes], None]) -> Taken:
    try:
        with path.open("rb") as file, _progress(path) as on_read:
            return await intake.take(file, tell, on_read=on_read)
    except OSError as err:
        raise CannotImport(
            f"{path}: {err.strerror}; what came before is stored, import the rest again"
        ) from err


class _Telling:
    """A file of receipts that is being written; `path` is where it is, once there is anything in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = StickWriter(file, RECEIPTS_MAGIC)
        self._says_something = False
        self.path: Path | None = None

    def tell(self, statement: bytes) -> None:
        self._writer.add_statement(statement)
        self._says_something = True

    def end(self) -> bool:
        self._writer.end()
        return self._says_something


@contextlib.contextmanager
def _receipts_at(path: Path) -> Iterator[_Telling]:
    """The old file or the whole new one is there, whatever happens. Without anything to tell: the old one."""
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            telling = _Telling(file)
            yield telling
            has_content = telling.end()
            file.flush()
            os.fsync(file.fileno())
        if has_content:
            part.replace(path)
            telling.path = path
            with contextlib.suppress(OSError):  # not every file system of a stick can do that
                sync_folder(path.parent)
    except OSError as err:
        raise CannotImport(
            f"{path}: {err.strerror}; name another place with --receipts. What was stored stays stored, and "
            "gets its receipts when it is imported again"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; a pipe or a file gets nothing."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with typer.progressbar(length=path.stat().st_size, label=path.name, file=cast(Any, sys.stderr)) as bar:
        yield lambda done: bar.update(done - bar.pos)


def _facts(path: Path, taken: Taken, receipts: Path | None) -> dict[str, Any]:
    return {
        "file": str(path),
        "gateway_id": taken.manifest.gateway_id,
        "batches": taken.batches,
        "stored": taken.stored,
        "already": taken.already,
        "quarantined": taken.quarantined,
        "refused": taken.refused,
        "first_refusal": taken.first_refusal,
        "damage": taken.damage,
        "receipts": None if receipts is None else str(receipts),
    }


def _text(path: Path, taken: Taken, receipts: Path | None) -> str:
    if not taken.manifest.gateway_id and not taken.batches:
        return f"{path}: nothing was taken: {taken.damage}"
    made = utc_text(taken.manifest.made_ms) if 0 < taken.manifest.made_ms < 1 << 45 else "?"
    lines = [
        f"{path}: from {taken.manifest.gateway_id}, made {made}: {taken.batches} batches, {taken.stored} "
        f"stored now, {taken.already} here before"
    ]
    if taken.quarantined:
        lines.append(f"  {taken.quarantined} readings or events are set aside, for they cannot be right.")
    if taken.refused:
        count = sum(taken.refused.values())
        lines.append(f"  {count} refused; the first: {taken.first_refusal}")
    if taken.damage:
        lines.append(f"  Not read to its end: {taken.damage}")
    if receipts is not None:
        lines.append(f"  Carry back {receipts}; at the gateway: edge-agent receipts {receipts.name}")
    return "\n".join(lines)
