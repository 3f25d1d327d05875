"""The DL/T 645 meters of a line and what they answer."""

from simulators.dlt645.frames import (
    ABNORMAL,
    ANSWER,
    BROADCAST_TIME,
    FOLLOWING_2007,
    HAS_MORE,
    NO_SUCH_DATA,
    READ_1997,
    READ_2007,
    READ_ADDRESS,
    Request,
    frame,
    is_meant,
    parts,
    take_requests,
)
from simulators.dlt645.meter import Dlt645Meter, Held
from simulators.line.talker import Answer, MeterTalker

BROADCAST = "999999999999"
_ANOTHER_ERROR = 0x01


class Dlt645Talker(MeterTalker[Dlt645Meter, Request]):
    """All meters of this kind on one line."""

    def _take(self, stream: bytearray) -> list[Request]:
        return take_requests(stream)

    def _is_meant(self, request: Request, meter: Dlt645Meter) -> bool:
        return request.address == BROADCAST or is_meant(request.address, meter.address)

    def _answer(self, meter: Dlt645Meter, request: Request, at_ms: int, *, is_spoiled: bool) -> Answer | None:
        is_1997 = meter.profile.dlt645.edition == "1997"
        if request.control == BROADCAST_TIME:
            if not is_spoiled:
                meter.set_time(request.data, at_ms)
            return None
        if request.address == BROADCAST:  # nobody answers what is told to all
            return None
        if request.control == READ_ADDRESS and not is_1997:
            digits = [int(meter.address[at : at + 2], 16) for at in range(10, -1, -2)]
            return Answer(frame(meter.address, READ_ADDRESS | ANSWER, bytes(digits)), at_ms)
        if request.control == FOLLOWING_2007 and not is_1997:
            return self._following(meter, request, at_ms)
        if request.control != (READ_1997 if is_1997 else READ_2007):
            return None
        if len(request.data) != (2 if is_1997 else 4):
            return self._refused(meter, request, _ANOTHER_ERROR, at_ms)
        di = int.from_bytes(request.data, "little")
        content = meter.content(di, at_ms)
        shape = self._shape(meter, "dlt645", di, content.names if content else ())
        if content is None:
            return self._refused(meter, request, NO_SUCH_DATA, at_ms, shape)
        pieces = [content.data[at : at + meter.longest] for at in range(0, len(content.data), meter.longest)]
        control = request.control | ANSWER
        if len(pieces) == 1:
            whole = frame(meter.address, control, request.data + content.data)
            return Answer(whole, at_ms, shape, content.values)
        meter.held = Held(request.data, pieces, 0, at_ms, shape, content.values)
        return Answer(frame(meter.address, control | HAS_MORE, request.data + pieces[0]), at_ms, shape)

    def _following(self, meter: Dlt645Meter, request: Request, at_ms: int) -> Answer:
        """The next piece of what was begun, or again the one that was asked for last."""
        held = meter.held
        number = request.data[-1] if request.data else 0
        if held is None or request.data[:-1] != held.di or number not in (held.number, held.number + 1):
            return self._refused(meter, request, NO_SUCH_DATA, at_ms)
        if not 0 < number < len(held.pieces):
            return self._refused(meter, request, NO_SUCH_DATA, at_ms, held.shape)
        meter.held = held._replace(number=number)
        is_last = number == len(held.pieces) - 1
        control = request.control | ANSWER | (0 if is_last else HAS_MORE)
        whole = frame(meter.address, control, held.di + held.pieces[number] + bytes((number,)))
        return Answer(whole, held.at_ms, held.shape, held.values if is_last else None)

    def _refused(
        self, meter: Dlt645Meter, request: Request, word: int, at_ms: int, shape: int | None = None
    ) -> Answer:
        return Answer(self._refusal(meter, request, word), at_ms, shape, refused=f"error {word:02X}")

    def _request_frame(self, request: Request) -> bytes:
        return request.frame

    def _refusal(self, meter: Dlt645Meter, request: Request, word: int) -> bytes:
        return frame(meter.address, request.control | ANSWER | ABNORMAL, bytes((word,)))

    def _from_neighbour(self, answer: bytes) -> bytes:
        address, control, data = parts(answer)
        return frame(f"{(int(address) + 1) % 10**12:012d}", control, data)

    def _to_another_question(self, answer: bytes) -> bytes:
        address, control, data = parts(answer)
        if control & ABNORMAL:  # it names no question, so let it be an error of another function
            return frame(address, control ^ 0x03, data)
        return frame(address, control, bytes((data[0] ^ 0x01, *data[1:])))
