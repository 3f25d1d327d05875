"""Finds out the address of a meter that is alone on its line, for whoever sets up a gateway."""

from drivers.dlt645 import frames
from drivers.framed import WAKE
from drivers.line import Line

_WAKE_BYTES = 4


async def find_address(line: Line, *, timeout_s: float) -> str:
    """The 12 digits of the meter. Where several are, they talk at once and none of them is understood.

    Raises what `Line.ask` raises. Only meters of 2007 know the question.
    """
    question = frames.Question(frames.ANY_ADDRESS, frames.READ_ADDRESS)
    request = bytes((WAKE,)) * _WAKE_BYTES + question.frame
    reply = await line.ask(request, frames.look_for(question), timeout_s=timeout_s, who="any DL/T 645 meter")
    return frames.address_text(reply.frame[1:7])
