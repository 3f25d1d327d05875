"""The process of the simulated devices: one on each of several lines. Arguments: names of profiles."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.meters import PROFILE_FILE, meter20
from bench.polled import Polled, pseudo_terminal, talker_of
from edge_agent.catalogue import Catalogue


def polled(name: str) -> Polled:
    """A shipped profile, or the one that is made for the benchmark."""
    profile = meter20() if name == PROFILE_FILE.stem else Catalogue().load(name)
    if not isinstance(profile, Polled):
        raise TypeError(f"{name}: a {profile.family} is not asked on a line")
    return profile


async def serve(names: Sequence[str]) -> None:
    """Serve until SIGTERM; say first, in one line of JSON, at which paths. Bytes take no time."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as opened:
        paths = [await opened.enter_async_context(pseudo_terminal(talker_of(polled(name)))) for name in names]
        print(json.dumps({"paths": dict(zip(names, paths, strict=True))}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
