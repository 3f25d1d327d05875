"""`collector serve`: runs a collector until a signal says stop."""

import asyncio
import json
import logging
import signal
import time
from pathlib import Path

import typer
import uvloop

from collector.commands.answer import Answer
from collector.serve import Listening, run_collector
from models.times import Clock

REAL = Clock(now_ms=lambda: time.time_ns() // 1_000_000, monotonic_s=time.monotonic, sleep=asyncio.sleep)


def serve(folder: Path, *, as_json: bool) -> Answer:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    def ready(at: Listening) -> None:
        if as_json:
            typer.echo(json.dumps({"serving": {"port": at.port, "http_port": at.http_port}}))
            return
        typer.echo(f"Serving gateways, API and page at https port {at.port}; stop with Ctrl-C.")
        if at.http_port is not None:
            typer.echo(f"Page for this machine: http://127.0.0.1:{at.http_port}/")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_collector(folder, clock=REAL, stop=stop, ready=ready)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return Answer({"stopped": True}, "Stopped.")
