"""Runs a program of this environment, unchanged, on a disk that fails and with a clock that is wrong.

    python -m simulators.lab.run --folder gateway/state --disk disk.json --clock clock.json -- edge-agent …

Both files may come, change and go at any time; `simulators faults replay` writes them.
"""

import argparse
import contextlib
import runpy
import sys
from pathlib import Path

from simulators.lab.clock import WatchedFile, wrong_system_clock
from simulators.lab.disk import Disk
from simulators.lab.vfs import between


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m simulators.lab.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, help="whose SQLite files are on the failing disk")
    parser.add_argument("--disk", type=Path, help="what is wrong with the disk: JSON")
    parser.add_argument("--clock", type=Path, help="how wrong the clock is: JSON")
    parser.add_argument("--seed", type=int, default=0, help="of the disk's chance")
    parser.add_argument("program", nargs="+", help="after --: what to run, or -m MODULE, with its arguments")
    asked = parser.parse_args()
    if (asked.folder is None) != (asked.disk is None):
        parser.error("--folder and --disk belong together")
    with contextlib.ExitStack() as wrong:
        if asked.disk is not None:
            wrong.enter_context(between(asked.folder, Disk(seed=asked.seed, control=asked.disk)))
        if asked.clock is not None:
            wrong.enter_context(wrong_system_clock(WatchedFile(asked.clock)))
        program, *arguments = asked.program
        sys.argv = arguments if program == "-m" else asked.program
        if program == "-m":
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(Path(sys.executable).with_name(program)), run_name="__main__")


if __name__ == "__main__":
    main()
