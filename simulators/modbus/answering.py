"""What Modbus meters answer to a request, whatever frames are around it, and the ledger of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulators.ledger import LedgerWriter
from simulators.modbus.frames import (
    IDENTIFY,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    Read,
    Write,
    answer,
    asked_for,
    exception,
    identification,
    written,
)
from simulators.modbus.meter import ModbusMeter


@dataclass(frozen=True, slots=True)
class Reply:
    """From the function code on."""

    pdu: bytes
    at_ms: int
    shape: int | None = None  # in the ledger
    values: Sequence[float | None] | None = None
    refused: str = ""  # how, when it is an exception


class Answering:
    """Answers for the meters of one endpoint or line."""

    def __init__(self, ledger: LedgerWriter | None) -> None:
        self._ledger = ledger
        self._shapes: dict[tuple[str, Read], int] = {}

    def reply(self, meter: ModbusMeter, pdu: bytes, at_ms: int, *, is_done: bool = True) -> Reply:
        """What the meter answers. Unless it `is_done`, a write changes nothing."""
        if pdu[0] == IDENTIFY:
            said = identification(pdu, meter.identification)
            return self.refusal(pdu, said, at_ms) if isinstance(said, int) else Reply(said, at_ms)
        limits = meter.profile.modbus
        asked = asked_for(pdu, max_registers=limits.max_registers, max_bits=limits.max_bits)
        if isinstance(asked, int):
            return self.refusal(pdu, asked, at_ms)
        if isinstance(asked, Write):
            if pdu[0] not in limits.write_functions:
                return self.refusal(pdu, ILLEGAL_FUNCTION, at_ms)
            if not meter.write(asked, is_done=is_done):
                return self.refusal(pdu, ILLEGAL_ADDRESS, at_ms)
            return Reply(written(pdu), at_ms)
        shape = meter.shape(asked)
        if isinstance(shape, int):
            return self.refusal(pdu, shape, at_ms, self._shape(meter, asked, ()))
        content, values = meter.content(asked, shape, at_ms)
        return Reply(answer(pdu[0], content), at_ms, self._shape(meter, asked, shape.names), values)

    def refusal(self, pdu: bytes, code: int, at_ms: int, shape: int | None = None) -> Reply:
        return Reply(exception(pdu[0], code), at_ms, shape, refused=f"exception {code:02d}")

    def show(self, reply: Reply, connection: int) -> None:
        """It went out, intact and on time."""
        if self._ledger is None or reply.shape is None:
            return
        if reply.values is None:
            self._ledger.spoiled(reply.at_ms, connection, reply.shape, reply.refused)
        else:
            self._ledger.shown(reply.at_ms, connection, reply.shape, reply.values)

    def spoil(self, reply: Reply, connection: int, how: str) -> None:
        if self._ledger is not None and reply.shape is not None:
            self._ledger.spoiled(reply.at_ms, connection, reply.shape, how)

    def _shape(self, meter: ModbusMeter, read: Read, names: Sequence[str]) -> int | None:
        if self._ledger is None:
            return None
        number = self._shapes.get((meter.id, read))
        if number is None:
            number = self._shapes[meter.id, read] = self._ledger.shape(
                meter=meter.id,
                unit=meter.unit,
                table=read.table,
                first=read.first,
                size=read.size,
                points=names,
            )
        return number
