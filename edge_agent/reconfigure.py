"""Brings a running agent to another configuration, keeps it on record, and tells what came of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from drivers.contract import Sink
from edge_agent.changes import NO_CHANGES, Changes
from edge_agent.config import Config, DocumentMistakes, load_config
from edge_agent.config.versions import Version, Versions
from edge_agent.fleet import Fleet
from models.configuration import ConfigReport, told_files
from models.inventory import DEVICE_DESCRIBED
from models.reading import GATEWAY, Event
from models.times import Clock

TOLD: Final = "config/told"
"""The mark with the digest of the configuration that the collector knows of."""

MOST_NAMED: Final = 50
MOST_PROBLEMS: Final = 20
MOST_TEXT: Final = 400

AT_THE_START: Final = "found at the start"

_log = logging.getLogger(__name__)

Kind = Literal["config.tried", "config.applied", "config.reverted"]


class Reloaded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it. With `problems`, nothing was changed."""

    version: int = 0
    digest: str = ""
    added: list[str] = []
    removed: list[str] = []
    changed: list[str] = []
    buses_begun: list[str] = []
    waits_for_a_start: list[str] = []
    problems: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who wants another configuration, and why."""

    origin: Literal["on-site", "collector", "gateway"]
    by: str
    why: str = ""
    id: str = ""  # of a pushed one
    collector: str = ""
    pushed: int = 0  # the number that it has there
    code: str = ""  # why it is taken back
    detail: str = ""


class Reconfigurer:
    """`begin` once; then `reload` whenever somebody on site wants it."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        sink: Sink,
        clock: Clock,
        on_changed: Callable[[Changes], Awaitable[None]],
        on_told: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_changed` brings all but the buses to what `fleet.config` says."""
        self._fleet, self._sink, self._clock = fleet, sink, clock
        self._on_changed, self._on_told = on_changed, on_told
        self.versions = Versions(fleet.config.state_dir)
        self.changing = asyncio.Lock()
        """Held by whoever decides on a configuration and brings the agent to it."""
        self.before_on_site: Callable[[Config, str], Awaitable[None]] | None = None
        """Called, with who it is, before a configuration that somebody on site has loaded becomes active."""

    async def begin(self, wish: Wish | None = None) -> Version:
        """Keep on record what the agent has started with, and tell the collector when it is news.

        `wish`: why it is what it is, where that is known.
        """
        config = self._fleet.config
        known = await asyncio.to_thread(self.versions.latest)
        if known is None or known.digest != config.digest:
            known = await self._keep(config, wish or Wish(origin="on-site", by=AT_THE_START))
        if wish is None and (await self._sink.marks(TOLD)).get(TOLD) != config.digest:
            report = report_of(known.number, config, _wish_of(known))
            await self._sink.put([self.event("config.applied", report)], {TOLD: config.digest})
        return known

    async def reload(self, *, by: str, why: str = "") -> Reloaded:
        """Take over what the file says now. What is wrong with it is told, and changes nothing."""
        async with self.changing:
            path = self._fleet.config.file
            try:
                config = await asyncio.to_thread(load_config, path)
            except DocumentMistakes as err:
                return await self._refused([str(problem) for problem in err.problems], by=by, why=why)
            if config.state_dir != self._fleet.config.state_dir:
                what = (
                    f"{path}: gateway.state_dir is another one, and the buffer is there (restart the agent)"
                )
                return await self._refused([what], by=by, why=why)
            if self.before_on_site is not None:
                await self.before_on_site(config, by)
            return await self.use(config, Wish(origin="on-site", by=by, why=why))

    async def use(
        self,
        config: Config,
        wish: Wish,
        kind: Kind = "config.applied",
        marks: Mapping[str, str] | None = None,
    ) -> Reloaded:
        """Run it, keep it and tell of it. Called while `changing` is held.

        `marks` are stored with the event.
        """
        before = self._fleet.config
        changes = await self._fleet.apply(config)
        await self._on_changed(changes)
        known = await asyncio.to_thread(self.versions.latest)
        is_news = config.digest != before.digest or known is None or known.digest != config.digest
        if known is None or is_news:
            known = await self._keep(config, wish)
        if is_news or marks:
            report = report_of(known.number, config, wish, changes)
            events = [self.event(kind, report), *self._descriptions(changes.described)]
            await self._sink.put(events, {TOLD: config.digest, **(marks or {})})
            self._on_told()
        elif changes.described:
            await self._sink.put(self._descriptions(changes.described))
        said = _reloaded(known, changes)
        _log.info("configuration %d, %s: %s", known.number, wish.by, _summary(said))
        return said

    async def tell(self, kind: str, report: ConfigReport, marks: Mapping[str, str] | None = None) -> None:
        """Of something that changes nothing."""
        await self._sink.put([self.event(kind, report)], marks)
        self._on_told()

    def event(self, kind: str, report: ConfigReport) -> Event:
        now_ms = self._clock.now_ms()
        return Event(
            device_id=GATEWAY,
            kind=kind,
            data=msgspec.to_builtins(report),
            measured_ms=now_ms,
            received_ms=now_ms,
        )

    async def _keep(self, config: Config, wish: Wish) -> Version:
        version = Version(
            digest=config.digest,
            at_ms=self._clock.now_ms(),
            origin=wish.origin,
            by=wish.by,
            why=wish.why or wish.detail,
            collector=wish.collector,
            pushed=wish.pushed,
            files=dict(config.files),
        )
        try:
            return await asyncio.to_thread(self.versions.keep, version)
        except OSError as err:
            _log.error("this configuration is not kept in the history: %s", err)
            return version

    async def _refused(self, problems: Sequence[str], *, by: str, why: str) -> Reloaded:
        _log.error("the configuration has mistakes, and nothing was changed:\n%s", "\n".join(problems))
        report = ConfigReport(
            origin="on-site",
            by=by,
            why=why,
            digest=self._fleet.config.digest,
            code="mistakes",
            problems=shortened(problems),
        )
        await self.tell("config.refused", report)
        return Reloaded(problems=list(problems))

    def _descriptions(self, ids: Sequence[str]) -> list[Event]:
        return describe_devices(self._fleet.config, ids, self._clock.now_ms())


def describe_devices(config: Config, ids: Sequence[str], now_ms: int) -> list[Event]:
    """Tells the collector what these devices are."""
    wanted = set(ids)
    told: list[tuple[str, Any]] = [
        (device.id, msgspec.to_builtins(config.description_of(device)))
        for device in config.settings.devices
        if device.id in wanted
    ]
    return [
        Event(device_id=device_id, kind=DEVICE_DESCRIBED, data=data, measured_ms=now_ms, received_ms=now_ms)
        for device_id, data in told
    ]


def report_of(number: int, config: Config, wish: Wish, changes: Changes = NO_CHANGES) -> ConfigReport:
    """What is told of a configuration that is active, with its number in the history."""
    return ConfigReport(
        origin=wish.origin,
        by=wish.by,
        why=wish.why,
        id=wish.id,
        code=wish.code,
        detail=wish.detail,
        version=number,
        digest=config.digest,
        added=list(changes.added[:MOST_NAMED]),
        removed=list(changes.removed[:MOST_NAMED]),
        changed=len(_changed(changes)),
        waits_for_a_start=list(changes.waits_for_a_start),
        content=told_files(config.files),
    )


def _wish_of(version: Version) -> Wish:
    return Wish(origin=version.origin, by=version.by, why=version.why)


def shortened(problems: Sequence[str]) -> list[str]:
    """As many and as much of them as an event may hold."""
    return [problem[:MOST_TEXT] for problem in problems[:MOST_PROBLEMS]]


def _reloaded(version: Version, changes: Changes) -> Reloaded:
    return Reloaded(
        version=version.number,
        digest=version.digest,
        added=list(changes.added),
        removed=list(changes.removed),
        changed=_changed(changes),
        buses_begun=list(changes.begun),
        waits_for_a_start=list(changes.waits_for_a_start),
    )


def _changed(changes: Changes) -> list[str]:
    """Devices that were there and are otherwise now, to the collector or to their bus."""
    put = [device for change in changes.changed.values() for device in change.put]
    return [device for device in dict.fromkeys((*changes.described, *put)) if device not in changes.added]


def _summary(said: Reloaded) -> str:
    parts = [
        f"{len(devices)} {what}"
        for devices, what in ((said.added, "added"), (said.removed, "removed"), (said.changed, "changed"))
        if devices
    ]
    parts += [f"bus {name} begun" for name in said.buses_begun]
    if said.waits_for_a_start:
        parts.append(f"{' and '.join(said.waits_for_a_start)} at the next start")
    return ", ".join(parts) or "no device is touched"
