"""What the commands have in common on the command line."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="GATEHOUSE_GATEWAY_CONFIG", help="The configuration file.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Own = Annotated[Path | None, typer.Option("--own", help="A folder with your own profiles.")]
Device = Annotated[str, typer.Argument(help="The id of a device in the configuration.")]
HERE = Path("gateway.yaml")
