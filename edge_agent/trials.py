"""Takes configurations that a collector pushes: each is checked as a whole, tried, and kept or taken back.

A configuration is kept once the collector that pushed it has answered a question that was asked after the
change; if that does not happen in time, the one before runs again. What came of it is told exactly once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from drivers.contract import Sink
from drivers.waiting import sleep_unless
from edge_agent.config import Config, DocumentMistakes
from edge_agent.config.bundle import file_of, read_bundle
from edge_agent.config.journal import Journal, Trial, can_write, put_files
from edge_agent.config.load import check_bundle
from edge_agent.config.pushable import file_problems, push_problems
from edge_agent.fleet import Fleet
from edge_agent.identity.folder import Identity
from edge_agent.reconfigure import MOST_TEXT, TOLD, Reconfigurer, Wish, report_of, shortened
from models.configuration import (
    MAIN,
    ConfigReport,
    ConfigurationInvalid,
    Pushed,
    check_files,
    digest_of,
    unpack_files,
    verify_configuration,
)
from models.document import Problem
from models.reading import GATEWAY, Event
from models.statement import StatementInvalid
from models.times import Clock

PREFIX: Final = "config/pushed/"
"""Of the marks with what a collector has pushed last, which go on with its name."""

OUTCOME: Final = "config/outcome"
"""The mark with the id of the last trial of which was told how it ended."""

THE_GATEWAY: Final = "the gateway itself"

NOT_REACHED: Final = "not-reached"
CHANGED_ON_SITE: Final = "changed-on-site"

_log = logging.getLogger(__name__)


class Last(msgspec.Struct, frozen=True):
    """The last push of a collector that was dealt with: what comes with a lower number is a replay."""

    number: int
    id: str


NOTHING: Final = Last(0, "")


class _Refusal(Exception):
    """Nothing of a push is done, and why."""

    def __init__(self, code: str, detail: str, problems: list[str] | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.problems = code, detail, problems or []


class Trials:
    """`begin` once, before anything is fetched; `run` beside everything else, until it is cancelled."""

    def __init__(self, fleet: Fleet, reconfigurer: Reconfigurer, *, sink: Sink, clock: Clock) -> None:
        self._fleet, self._reconfigurer = fleet, reconfigurer
        self._sink, self._clock = sink, clock
        self._path = fleet.config.file
        self._journal = Journal(fleet.config.state_dir)
        self._trial: Trial | None = None
        self._config: Config | None = None  # what is to be tried
        self._version = 0  # that it has in the history
        self._since_s = float("inf")  # of the monotonic clock; what was asked before proves nothing
        self._begun, self._news = asyncio.Event(), asyncio.Event()
        self._is_reached = False
        self._said: set[str] = set()
        reconfigurer.before_on_site = self._end_on_site

    async def begin(self) -> None:
        """Tell what became of a trial that the end of the agent has cut off."""
        trial = await asyncio.to_thread(self._journal.read)
        wish = None
        if trial is not None and trial.state == "reverted":
            wish = Wish(origin="gateway", by=THE_GATEWAY, detail=trial.detail)
        version = await self._reconfigurer.begin(wish)
        if trial is None:
            return
        if trial.state == "trying":  # it could not be undone; it is as if it had been until the next start
            self._trial = trial
            return
        if (await self._sink.marks(OUTCOME)).get(OUTCOME) != trial.id:
            config = self._fleet.config
            report = report_of(version.number, config, wish_of(trial))
            kind = "config.applied" if trial.state == "kept" else "config.reverted"
            await self._reconfigurer.tell(kind, report, {TOLD: config.digest, **await self._marks(trial)})
        await self._forget()

    async def take(self, signed: bytes, *, collector: str, identity: Identity) -> str | None:
        """The id of a configuration that this collector has certainly pushed to us; None for anything else.

        It is on disk and will be tried then, or refused, or was known.
        """
        invalid: _Refusal | None = None
        try:
            pushed = verify_configuration(
                signed,
                gateway_id=identity.gateway_id,
                public_key=identity.collector.command_key,
                now_ms=self._clock.now_ms(),
            )
        except StatementInvalid as err:
            if err.statement is None:
                await self._reject(err.code, err.detail)
                return None
            pushed, invalid = err.statement, _Refusal(err.code, err.detail)
        async with self._reconfigurer.changing:
            if await self._is_known(pushed, collector):
                return pushed.id
            try:
                if invalid is not None:
                    raise invalid
                await self._accept(pushed, collector)
            except _Refusal as refusal:
                await self._refuse(pushed, collector, refusal)
        return pushed.id

    @property
    def is_trying(self) -> bool:
        """Whether it is still open what becomes of a configuration."""
        return self._trial is not None

    @property
    def is_waiting(self) -> bool:
        """Whether what is tried runs, and nothing but the collector's answer is missing."""
        return self._since_s < float("inf")

    def heard(self, collector: str, asked_s: float) -> None:
        """A collector has answered what was asked at that time, of the monotonic clock."""
        trial = self._trial
        if trial is not None and trial.collector == collector and asked_s >= self._since_s:
            self._is_reached = True
            self._news.set()

    async def run(self) -> None:
        while True:
            await self._begun.wait()
            self._begun.clear()
            async with self._reconfigurer.changing:
                trial, config = self._trial, self._config
                if trial is None or config is None:
                    continue
                await self._try(trial, config)
            await sleep_unless(self._news, trial.confirm_s, self._clock)
            async with self._reconfigurer.changing:
                if self._trial is trial:  # else somebody on site has ended it
                    await self._end(trial)

    async def _is_known(self, pushed: Pushed, collector: str) -> bool:
        """Whether it was dealt with, or is a replay of what was."""
        if self._trial is not None and self._trial.id == pushed.id:
            return True
        last = await self._last(collector)
        if pushed.number > last.number:
            return False
        if pushed.id != last.id:
            await self._reject("replayed", f"it has number {pushed.number}, and {last.number} came before")
        return True

    async def _accept(self, pushed: Pushed, collector: str) -> None:
        """Check all of it, and bring it to the disk before anything is changed. Raises _Refusal."""
        current = self._fleet.config
        if collector not in current.settings.configuration.allow_push:
            detail = f"gateway.yaml does not allow it: configuration.allow_push lacks {collector}"
            raise _Refusal("not-allowed", detail)
        if self._trial is not None:
            raise _Refusal("busy", f"another one, {self._trial.id}, is being tried; push it again later")
        try:
            files = unpack_files(pushed.packed)
            check_files(files)
        except ConfigurationInvalid as err:
            raise _Refusal("malformed", err.detail) from err
        on_disk = await asyncio.to_thread(read_bundle, self._path)
        if digest_of(on_disk) != current.digest:
            detail = (
                "somebody on site has changed files and not loaded them; edge-agent reload, then push again"
            )
            raise _Refusal(CHANGED_ON_SITE, detail)
        if pushed.base and pushed.base != current.digest:
            detail = f"it is a change of {pushed.base[:12]}, and {current.digest[:12]} runs here"
            raise _Refusal(CHANGED_ON_SITE, detail)
        config = await asyncio.to_thread(self._checked, current, files, collector)
        if (why_not := await asyncio.to_thread(can_write, self._path, files)) != "":
            raise _Refusal("not-writable", why_not)
        trial = Trial(
            id=pushed.id,
            collector=collector,
            number=pushed.number,
            by=pushed.issued_by,
            why=pushed.why,
            confirm_s=pushed.confirm_s,
            before=dict(current.files),
            after=dict(config.files),
        )
        try:
            await asyncio.to_thread(self._journal.write, trial)
        except OSError as err:
            raise _Refusal("disk", f"it cannot be noted before it is tried: {err}") from err
        self._trial, self._config = trial, config
        self._is_reached = False
        self._news.clear()
        self._begun.set()

    def _checked(self, current: Config, files: Mapping[str, bytes], collector: str) -> Config:
        """The whole configuration that it makes. Raises _Refusal."""
        problems = file_problems(current, files)
        merged = {**current.files, **files}
        for name in files.keys() - current.files.keys():
            if file_of(self._path, name).exists():
                hint = "choose another name, or remove it on site"
                problems.append(Problem(name, 1, "", "is there, and no part of the configuration", hint))
        if not problems:
            try:
                config = check_bundle(self._path, merged, called=MAIN)
                problems = push_problems(current, config, collector)
            except DocumentMistakes as err:
                problems = list(err.problems)
        if problems:
            folder = f"{self._path.parent}/"
            told = [str(problem).replace(folder, "") for problem in problems]
            raise _Refusal("mistakes", f"{len(told)} mistakes; nothing was changed", shortened(told))
        return config

    async def _try(self, trial: Trial, config: Config) -> None:
        try:
            await asyncio.to_thread(put_files, self._path, trial.before, trial.after)
            said = await self._reconfigurer.use(config, wish_of(trial), "config.tried")
        except Exception as err:  # whatever it is, the one before did run
            _log.exception("a pushed configuration could not be applied")
            await self._revert(trial, "failed", f"it could not be applied: {err}")
            return
        self._version, self._since_s = said.version, self._clock.monotonic_s()

    async def _end(self, trial: Trial) -> None:
        if not self._is_reached:
            detail = f"collector {trial.collector} was not reached with it within {trial.confirm_s:g} s"
            await self._revert(trial, NOT_REACHED, detail)
            return
        kept = msgspec.structs.replace(trial, state="kept")
        await self._note(kept)
        report = report_of(self._version, self._fleet.config, wish_of(kept))
        await self._reconfigurer.tell("config.applied", report, await self._marks(kept))
        await self._forget()

    async def _revert(self, trial: Trial, code: str, detail: str) -> None:
        """Let the configuration before run again. What somebody has changed in the files meanwhile, stays."""
        _log.error("configuration %s is taken back: %s", trial.id, detail)
        reverted = msgspec.structs.replace(trial, state="reverted", code=code, detail=detail)
        is_back = True
        try:
            await asyncio.to_thread(put_files, self._path, trial.after, trial.before)
        except OSError as err:
            is_back = False
            _log.error("its files could not be written back, which the next start will do: %s", err)
        else:
            await self._note(reverted)
        config = await asyncio.to_thread(check_bundle, self._path, trial.before)
        marks = await self._marks(reverted)
        await self._reconfigurer.use(config, wish_of(reverted), "config.reverted", marks)
        await self._forget(is_settled=is_back)

    async def _end_on_site(self, config: Config, by: str) -> None:
        """Whoever is on site has the last word."""
        trial = self._trial
        if trial is None:
            await self._forget()  # if files were still to be written back: they are what somebody wants
            return
        if config.digest == digest_of(trial.after):
            return
        detail = f"{by} has loaded another configuration meanwhile"
        reverted = msgspec.structs.replace(trial, state="reverted", code=CHANGED_ON_SITE, detail=detail)
        await self._note(reverted)
        report = refusal_of(trial, config.digest, CHANGED_ON_SITE, detail)
        await self._reconfigurer.tell("config.reverted", report, await self._marks(reverted))
        await self._forget()

    async def _refuse(self, pushed: Pushed, collector: str, refusal: _Refusal) -> None:
        _log.error("configuration %s of %s is refused: %s", pushed.id, collector, refusal.detail)
        report = ConfigReport(
            origin="collector",
            by=pushed.issued_by,
            why=pushed.why,
            id=pushed.id,
            digest=self._fleet.config.digest,
            code=refusal.code,
            detail=refusal.detail[:MOST_TEXT],
            problems=refusal.problems,
        )
        mark = {PREFIX + collector: _encoded(Last(pushed.number, pushed.id))}
        await self._reconfigurer.tell("config.refused", report, mark)

    async def _reject(self, code: str, detail: str) -> None:
        """Once for each reason: whoever sends such a thing might send it a thousand times."""
        if code in self._said:
            return
        self._said.add(code)
        _log.error("a pushed configuration was not accepted: %s: %s", code, detail)
        now_ms = self._clock.now_ms()
        facts = {"code": code, "detail": detail}
        event = Event(
            device_id=GATEWAY, kind="config.rejected", data=facts, measured_ms=now_ms, received_ms=now_ms
        )
        await self._sink.put([event])

    async def _note(self, trial: Trial) -> None:
        try:
            await asyncio.to_thread(self._journal.write, trial)
        except OSError as err:
            _log.error("what became of a trial cannot be noted, so a start would undo it: %s", err)

    async def _forget(self, *, is_settled: bool = True) -> None:
        """All is told. What is not settled stays noted, for the next start to undo."""
        self._trial, self._config, self._since_s = None, None, float("inf")
        self._news.set()
        if not is_settled:
            return
        with contextlib.suppress(OSError):  # the mark says that it was told
            await asyncio.to_thread(self._journal.remove)

    async def _last(self, collector: str) -> Last:
        marked = await self._marked(collector)
        if marked.number:
            return marked
        # Perhaps the buffer is another one: what is in the history cannot come again all the same.
        known = await asyncio.to_thread(self._reconfigurer.versions.all)
        return Last(max((v.pushed for v in known if v.collector == collector), default=0), "")

    async def _marked(self, collector: str) -> Last:
        mark = (await self._sink.marks(PREFIX + collector)).get(PREFIX + collector)
        try:
            return NOTHING if mark is None else msgspec.json.decode(mark, type=Last)
        except msgspec.MsgspecError:
            return NOTHING

    async def _marks(self, trial: Trial) -> dict[str, str]:
        """Stored with the event that tells what became of it."""
        marks = {OUTCOME: trial.id}
        if (await self._marked(trial.collector)).number < trial.number:
            marks[PREFIX + trial.collector] = _encoded(Last(trial.number, trial.id))
        return marks


def wish_of(trial: Trial) -> Wish:
    """Why the agent has the configuration that it has, as far as this trial goes."""
    is_back = trial.state == "reverted"
    return Wish(
        origin="gateway" if is_back else "collector",
        by=THE_GATEWAY if is_back else trial.by,
        why="" if is_back else trial.why,
        id=trial.id,
        collector="" if is_back else trial.collector,
        pushed=0 if is_back else trial.number,
        code=trial.code,
        detail=trial.detail,
    )


def refusal_of(trial: Trial, digest: str, code: str, detail: str) -> ConfigReport:
    """What is told of a trial that somebody has ended."""
    return ConfigReport(
        origin="on-site", by=THE_GATEWAY, id=trial.id, digest=digest, code=code, detail=detail[:MOST_TEXT]
    )


def _encoded(last: Last) -> str:
    return msgspec.json.encode(last).decode()
