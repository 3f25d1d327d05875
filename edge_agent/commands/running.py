"""Running the agent until it is told to stop."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from edge_agent.app import Machine, run_agent
from edge_agent.commands.answer import Answer
from edge_agent.config import Config, load_config
from edge_agent.config.journal import recover
from edge_agent.kernel_clock import boot_id, is_synchronised
from edge_agent.service_manager import ServiceManager
from models.times import Clock, utc_text


def real_clock() -> Clock:
    return Clock(now_ms=lambda: time.time_ns() // 1_000_000, monotonic_s=time.monotonic, sleep=asyncio.sleep)


def run(path: Path, *, level: str, as_json: bool) -> Answer:
    """Return after SIGTERM or SIGINT, when what was under way is finished."""
    recover(path)
    config = load_config(path)
    _log_to_stderr(level, as_json=as_json)
    uvloop.run(_until_signal(config))
    return Answer({"stopped": True}, "Stopped.")


async def _until_signal(config: Config) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manager = ServiceManager.of(os.environ)
    machine = Machine(is_synchronised, boot_id(), judges_certificates=True, manager=manager)
    await run_agent(config, clock=real_clock(), stop=stop, machine=machine, reload=reload)


def _log_to_stderr(level: str, *, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "asyncio", "aiosqlite"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = f"{utc_text(int(record.created * 1000))} {record.levelname.lower()}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": utc_text(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
