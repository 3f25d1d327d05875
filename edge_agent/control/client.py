"""Asks the agent that runs on this machine, through its socket."""

import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.control.on_site import SOCKET, Answer, Peer, Question, login_of, short_name
from models.errors import NeedsAHuman

ANSWER_LIMIT_S: Final = 150.0
"""In real time. Longer than an order on site may take, so that its outcome is seen."""


class AgentSaysNo(NeedsAHuman):
    """The running agent has not done what it was asked for. `code` says why to programs."""

    def __init__(self, code: str, told: str) -> None:
        super().__init__(told)
        self.code = code


def ask_agent(state_dir: Path, question: Question) -> Answer | None:
    """What the running agent says; None when none runs. Raises AgentSaysNo when it ends before it answers."""
    path = state_dir / SOCKET
    try:
        with short_name(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_LIMIT_S)
            connection.connect(name)
            connection.sendall(msgspec.json.encode(question) + b"\n")
            line = connection.makefile("rb").readline()
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    except PermissionError:
        told = f"{path}: only root and the user that the agent runs as may ask it"
        raise AgentSaysNo("not-you", told) from None
    except OSError as err:
        raise AgentSaysNo("no-answer", f"{path}: {err}; it may have been done: look at the device") from None
    try:
        return msgspec.json.decode(line, type=Answer)
    except msgspec.MsgspecError:
        told = "the agent ended before it answered; it may have been done: look at the device"
        raise AgentSaysNo("no-answer", told) from None


def myself() -> Peer:
    """Who runs this command."""
    uid = os.geteuid()
    return Peer(uid, login_of("self", uid))
