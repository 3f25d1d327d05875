"""Where a simulated line can be reached, as a scenario says it."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from simulators.fields import DurationMs, Section
from simulators.line.pty import PtyPort
from simulators.line.tcp import TcpPort

Parity = Literal["none", "even", "odd"]


class LineSection(Section):
    """A pseudo-terminal, or with `port` the TCP port of a serial server."""

    link: str | None = Field(
        default=None, min_length=1, description="path of a symbolic link to the pseudo-terminal"
    )
    port: int | None = Field(default=None, ge=0, le=65535, description="TCP port; 0: a free one")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    baud: int | None = Field(
        default=2400, ge=300, le=4_000_000, description="what bytes take; null: no time at all"
    )
    turnaround_ms: DurationMs = Field(default=20, description="what a device needs to answer, as 20ms")
    parity: Parity = Field(default="even", description="what a gateway is told; bytes have 11 bits anyway")
    echoes: bool = Field(default=False, description="whether the adapter hears what it sends itself")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.link is not None and self.port is not None:
            raise ValueError("a line has either a `link` or a `port`")
        return self

    def make_port(self) -> PtyPort | TcpPort:
        """Nothing is opened yet."""
        if self.port is not None:
            return TcpPort(host=self.host, port=self.port)
        return PtyPort(link=None if self.link is None else Path(self.link))
