"""`collector init`: makes a folder a collector, or brings one up to date."""

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from collector.commands.answer import Answer
from collector.commands.sites import insert_site
from collector.identity.ca import general_name
from collector.identity.home import Home, write_file
from collector.settings import FILE, check_settings, load_settings, new_settings_text
from collector.store.engine import Store
from collector.store.upgrade import upgrade
from models.errors import NeedsAHuman

DEFAULT_PORT = 8443


class CannotInit(NeedsAHuman):
    """The options do not fit together, or not the folder."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings of a new collector shall say; None where the default is right."""

    url: str | None = None
    host: str | None = None
    port: int | None = None
    http_port: int | None = None
    names: Sequence[str] = ()


def init(folder: Path, wanted: Wanted, *, site: str | None, site_name: str | None) -> Answer:
    """Keys, settings and tables that are there are kept; tables are brought up to date."""
    home = Home(folder)
    settings_file = folder / FILE
    if settings_file.exists():
        if wanted != Wanted():
            raise CannotInit(f"{settings_file} is there already: change it there, then `collector serve`")
        text = None
    else:
        text = _settings_text(settings_file, wanted)
    now = datetime.now(UTC)
    is_new = home.create_keys(now)
    if text is not None:
        write_file(settings_file, text.encode())  # private: passwords of receivers go into it
    settings = load_settings(folder)
    home.ensure_server_certificate(settings.server_names(), now, settings.certificates.lives.server)
    if not home.database.exists():
        os.close(os.open(home.database, os.O_CREAT | os.O_WRONLY, 0o600))
    upgrade(home.database)
    if site is not None:
        asyncio.run(_add_site(home.database, site, site_name or site))
    at = f" --dir {folder}"
    next_steps = [
        *([] if site else [f"collector site add CODE NAME{at}"]),
        f"collector serve{at}",
        f"collector enrollment-token --site {site or 'CODE'} --name GATEWAY{at}",
        f"collector api-token --name NAME --scope read{at}",
    ]
    done = "A new collector" if is_new else "The collector, with its keys and settings as they were,"
    return Answer(
        {
            "dir": str(folder),
            "new": is_new,
            "url": settings.url,
            "settings": str(settings_file),
            "ca_certificate": str(home.ca_certificate),
            "site": site,
            "next": next_steps,
        },
        f"{done} is in {folder}; gateways reach it at {settings.url}\n"
        f"Settings: {settings_file}. Back up the whole folder: its keys cannot be made again.\n"
        "Next:\n" + "\n".join(f"  {step}" for step in next_steps),
    )


def _settings_text(path: Path, wanted: Wanted) -> str:
    url = wanted.url or f"https://{socket.gethostname()}:{wanted.port or DEFAULT_PORT}"
    for name in wanted.names:
        try:
            general_name(name)
        except ValueError:
            raise CannotInit(f"--name {name!r} is neither a host name nor an address") from None
    try:
        port = urlsplit(url).port or 443
    except ValueError:
        port = 443  # the check below says what is wrong with the address
    if wanted.port is not None:
        port = wanted.port
    text = new_settings_text(url, wanted.host or "0.0.0.0", port, list(wanted.names), wanted.http_port)  # noqa: S104
    check_settings(text, path)
    return text


async def _add_site(database: Path, code: str, name: str) -> None:
    async with await Store.open(database) as store:
        await insert_site(store, code, name, timezone=None)
