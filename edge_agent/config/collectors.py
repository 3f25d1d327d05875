"""Which collectors a gateway belongs to, and how each is reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from edge_agent.config.sections import CollectorSection, ConfigFile, UplinkSection
from edge_agent.identity.folder import MAIN, is_name
from models.document import Mistake

NO_PROXY: Final = "none"


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """One collector, with what is common to all filled in."""

    name: str
    carrier: Literal["https", "mqtt", "stick"]
    broker: str | None  # mqtts://host:port
    live_every_s: float
    max_items: int
    backlog_per_s: float | None
    proxy: str | None  # http://host:port
    proxy_login_file: Path | None


def collector_settings(settings: ConfigFile, folder: Path) -> list[CollectorSettings]:
    """All collectors, in the order of the file in `folder`; where it names none there is one."""
    return [settings_of(name, settings, folder) for name in settings.collectors or (MAIN,)]


def settings_of(name: str, settings: ConfigFile, folder: Path) -> CollectorSettings:
    """Of one collector, also of one that the file does not name yet."""
    one, common = settings.collectors.get(name, CollectorSection()), settings.uplink
    at = common if one.proxy is None else one
    proxy = None if at.proxy == NO_PROXY else at.proxy
    login = None if proxy is None else at.proxy_login_file
    return CollectorSettings(
        name=name,
        carrier=one.carrier,
        broker=one.broker,
        live_every_s=common.live_every_s if one.live_every_s is None else one.live_every_s,
        max_items=common.max_items if one.max_items is None else one.max_items,
        backlog_per_s=one.backlog_per_s or common.backlog_per_s,
        proxy=proxy,
        proxy_login_file=None if login is None else folder / login,
    )


def collector_mistakes(settings: ConfigFile) -> Iterator[Mistake]:
    """What only shows when the sections are seen together."""
    for path, section in _sections(settings):
        if section.proxy not in (None, NO_PROXY) and not _is_address(section.proxy or "", "http"):
            what = "is no address of a proxy"
            yield Mistake((*path, "proxy"), what, "http://host:port; a password belongs in proxy_login_file")
        if section.proxy_login_file is not None and section.proxy in (None, NO_PROXY):
            yield Mistake((*path, "proxy_login_file"), "is for no proxy", "name the proxy beside it")
    for name, one in settings.collectors.items():
        yield from _broker_mistakes(name, one)
        if not is_name(name):
            hint = "up to 40 letters, digits and dashes"
            yield Mistake(("collectors", name), "is no name for a collector", hint)


def _sections(settings: ConfigFile) -> Iterator[tuple[tuple[str, ...], UplinkSection | CollectorSection]]:
    yield ("uplink",), settings.uplink
    for name, section in settings.collectors.items():
        yield ("collectors", name), section


def _broker_mistakes(name: str, one: CollectorSection) -> Iterator[Mistake]:
    path, hint = ("collectors", name, "broker"), "mqtts://host:port; 8883 is usual"
    if one.carrier == "mqtt" and one.broker is None:
        yield Mistake(path, "is missing", hint)
    elif one.carrier != "mqtt" and one.broker is not None:
        yield Mistake(path, f"is for no {one.carrier}", "write carrier: mqtt, or remove it")
    elif one.broker is not None and not _is_address(one.broker, "mqtts"):
        yield Mistake(path, "is no address of a broker", hint)


def _is_address(url: str, scheme: str) -> bool:
    """Whether it is scheme://host:port and nothing else; above all no password."""
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme == scheme
            and parts.hostname
            and parts.port
            and "@" not in parts.netloc
            and parts.path in ("", "/")
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False
