"""The commands of a page of the documentation, typed into a shell as they stand, at ports that are free."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HEALTH: Final = "9464"  # the port of gateway.yaml, as `edge-agent init` writes it
_MARK: Final = "BLOCK\n"
_UNTIL_IT_SPEAKS: Final = "while ! [ -s started ]; do kill -0 $! || exit 1; sleep 0.1; done"


def page(name: str) -> str:
    """The text of a page, named from the top of the project."""
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, kind: str = "sh") -> list[str]:
    """What stands between the fences of this kind."""
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def marked(typed: Sequence[str]) -> str:
    """One script of all blocks; `by_block` tells what each of them has said."""
    return "\n".join(f"echo {_MARK}{block}" for block in typed)


def by_block(said: str) -> list[str]:
    return said.split(_MARK)[1:]


def patient(script: str) -> str:
    """What is started with `&` is given the time to say its first line, as a person gives it."""
    started = rf"rm -f started\n\1 > started 2>&1 &\n{_UNTIL_IT_SPEAKS}"
    return re.sub(r"^(.*) &$", started, script, flags=re.MULTILINE)


def replaced(text: str, old: str, new: str) -> str:
    """With another word everywhere, where there is the old one at all."""
    assert old in text, f"{old!r} is not in the page any more"
    return text.replace(old, new)


def at_free_ports(script: str, *ports: str) -> str:
    """With these ports, and that of the gateway's own page, at others."""
    *free, health = free_ports(len(ports) + 1)
    for named, port in zip(ports, free, strict=True):
        script = replaced(script, named, str(port))
    made = "init gateway\n"
    return replaced(script, made, f"{made}sed -i s/{HEALTH}/{health}/ gateway/gateway.yaml\n")


def free_ports(count: int) -> list[int]:
    """All different."""
    with contextlib.ExitStack() as servers:
        opened = [servers.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in opened]


def environment(**more: str) -> dict[str, str]:
    """Of whoever types: our commands are found, Debian's daemons too, and no proxy is between."""
    mine = {name: value for name, value in os.environ.items() if name != "HTTPS_PROXY"}
    return {**mine, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin", **more}


def typed(script: str, folder: Path, *, within_s: float = 300, **more: str) -> str:
    """What a shell says that runs this in a folder. Each command must end well; what still runs is ended."""
    with (folder / "said").open("w+") as said:
        shell = subprocess.Popen(
            ["bash", "-c", f"set -eu\n{script}"],
            cwd=folder,
            env=environment(**more),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = shell.wait(within_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
            shell.wait()
        said.seek(0)
        text = said.read()
    assert code == 0, text
    return text
