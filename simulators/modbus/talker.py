"""The Modbus units of a line and what they answer."""

from collections.abc import Sequence

from models.times import Clock
from simulators.ledger import LedgerWriter
from simulators.line.talker import Answer, MeterTalker
from simulators.modbus.answering import Answering
from simulators.modbus.frames import DEVICE_BUSY, exception
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.rtu import RtuRequest, frame, take_requests

BROADCAST = 0


class RtuTalker(MeterTalker[ModbusMeter, RtuRequest]):
    """All units on one line."""

    _busy = DEVICE_BUSY

    def __init__(
        self,
        meters: Sequence[ModbusMeter],
        *,
        name: str,
        seed: int,
        origin_ms: int,
        clock: Clock,
        ledger: LedgerWriter | None = None,
    ) -> None:
        super().__init__(meters, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
        self._answering = Answering(ledger)

    def _take(self, stream: bytearray) -> list[RtuRequest]:
        return take_requests(stream)

    def _is_meant(self, request: RtuRequest, meter: ModbusMeter) -> bool:
        return request.unit in (meter.unit, BROADCAST)

    def _answer(
        self, meter: ModbusMeter, request: RtuRequest, at_ms: int, *, is_spoiled: bool
    ) -> Answer | None:
        reply = self._answering.reply(meter, request.pdu, at_ms, is_done=not is_spoiled)
        if request.unit == BROADCAST:
            return None  # nobody answers what is told to all
        whole = frame(meter.unit, reply.pdu)
        return Answer(whole, at_ms, reply.shape, reply.values, reply.refused)

    def _request_frame(self, request: RtuRequest) -> bytes:
        return request.frame

    def _refusal(self, meter: ModbusMeter, request: RtuRequest, word: int) -> bytes:
        return frame(meter.unit, exception(request.pdu[0], word))

    def _from_neighbour(self, answer: bytes) -> bytes:
        return frame(answer[0] % 247 + 1, answer[1:-2])

    def _to_another_question(self, answer: bytes) -> bytes:
        """A reply with one register less or more, as another request would have got it."""
        pdu = answer[1:-2]
        if not 1 <= pdu[0] <= 4:
            return frame(answer[0], bytes((pdu[0] ^ 0x01, *pdu[1:])))
        content = pdu[2:-2] if len(pdu) > 4 else pdu[2:] + b"\0\0"
        return frame(answer[0], bytes((pdu[0], len(content))) + content)
