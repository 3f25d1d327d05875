"""`collector upstream`: belonging to a higher collector."""

import asyncio
import time
from pathlib import Path
from typing import Any

from collector.commands.answer import Answer
from collector.forward.book import Book
from collector.forward.place import NoUpstream, Place, proxy_of, upstream_of
from collector.identity.home import Home
from collector.settings import load_settings
from collector.store.engine import Store
from models.errors import NeedsAHuman
from models.protocol import EnrollmentToken
from models.times import utc_text


class TokenMissing(NeedsAHuman):
    """No token was given."""


def enroll(folder: Path, token: str | None, token_file: Path | None, *, again: bool) -> Answer:
    home, settings = Home(folder), load_settings(folder)
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise TokenMissing(f"{token_file}: cannot be read ({err})") from None
    if not token:
        raise TokenMissing("give the token, or the file that it is in: --token-file")
    section = settings.upstream
    proxy = None if section is None else proxy_of(section, folder)
    identity = Place(home).enroll(EnrollmentToken.decode(token), again=again, proxy=proxy)
    url, ends = identity.collector.url, identity.expires
    said = f"This collector is {identity.gateway_id} at {url}, for the site {identity.collector.site_code}."
    if section is None or not section.share.rules:
        said += '\nNothing is shared yet. In collector.yaml: upstream: {share: {sites: ["CODE"]}}'
    return Answer(
        {
            "id": identity.gateway_id,
            "url": url,
            "site": identity.collector.site_code,
            "certificate_ends": ends.isoformat(),
        },
        said,
    )


def status(folder: Path) -> Answer:
    """Bad news when nothing goes out, something is late, or something is not taken."""
    home, settings = Home(folder), load_settings(folder)
    section = settings.upstream
    place = Place(home)
    identity, told = place.identity(), place.told()
    if section is None:
        raise NoUpstream("nothing is forwarded: there is no `upstream` in collector.yaml")

    async def read() -> Answer:
        async with await Store.open(home.database) as store:
            book = Book(store, upstream_of(identity))
            standing, refused = await book.standing(), await book.refusals()
        now_ms = time.time_ns() // 1_000_000
        late = standing.is_late(now_ms, settings.detectors.late_upstream.after_minutes * 60_000)
        problem, not_taken = told.get("problem", ""), told.get("not_taken", {})
        data: dict[str, Any] = {
            "id": identity.gateway_id,
            "url": section.broker or identity.collector.url,
            "site": identity.collector.site_code,
            "certificate_ends": identity.expires.isoformat(),
            "gateways": standing.gateways,
            "waiting": standing.waiting,
            "oldest_waiting": None if standing.oldest_ms is None else utc_text(standing.oldest_ms),
            "late": late,
            "problem": problem,
            "not_taken": not_taken,
            "refused": refused,
        }
        oldest = f", the oldest since {data['oldest_waiting']}" if standing.waiting else ""
        lines = [
            f"{data['url']}, as {identity.gateway_id} for the site {data['site']}",
            f"shared gateways: {standing.gateways}; envelopes that wait: {standing.waiting}{oldest}",
        ]
        lines += ["nothing has got through for too long"] if late else []
        lines += [problem] if problem else []
        lines += [f"{gateway_id}: {why}" for gateway_id, why in not_taken.items()]
        lines += [f"{each['gateway_id']}: {each['envelopes']} refused: {each['refused']}" for each in refused]
        if refused:
            lines.append("Try them once more: collector upstream retry")
        is_good = not (problem or late or refused or not_taken)
        return Answer(data, "\n".join(lines), is_good=is_good)

    return asyncio.run(read())


def retry(folder: Path) -> Answer:
    home = Home(folder)
    identity = Place(home).identity()

    async def again() -> Answer:
        async with await Store.open(home.database) as store:
            count = await Book(store, upstream_of(identity)).retry()
        return Answer({"envelopes": count}, f"{count} envelopes are sent once more.")

    return asyncio.run(again())
