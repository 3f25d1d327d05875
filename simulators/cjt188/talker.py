"""The CJ/T 188 meters of a line and what they answer."""

from simulators.cjt188.frames import (
    ABNORMAL,
    ANSWER,
    READ,
    Request,
    frame,
    parts,
    take_requests,
)
from simulators.cjt188.meter import Cjt188Meter
from simulators.line.talker import Answer, MeterTalker

ANY_ADDRESS = "A" * 14
_ANY_TYPE = 0xAA
_NO_SUCH_DATA = 0x02


class Cjt188Talker(MeterTalker[Cjt188Meter, Request]):
    """All meters of this kind on one line."""

    def _take(self, stream: bytearray) -> list[Request]:
        return take_requests(stream)

    def _is_meant(self, request: Request, meter: Cjt188Meter) -> bool:
        return request.meter_type in (meter.profile.cjt188.meter_type, _ANY_TYPE) and request.address in (
            meter.address,
            ANY_ADDRESS,
        )

    def _answer(self, meter: Cjt188Meter, request: Request, at_ms: int, *, is_spoiled: bool) -> Answer | None:
        section = meter.profile.cjt188
        if request.control != READ or len(request.data) != 3:
            return None
        if section.serial_number not in (None, request.data[2]):
            return None
        di = int.from_bytes(request.data[:2], "little" if section.di_order == "low_first" else "big")
        content = meter.content(di, at_ms)
        shape = self._shape(meter, "cjt188", di, content.names if content else ())
        if content is None:
            refusal = self._refusal(meter, request, _NO_SUCH_DATA)
            return Answer(refusal, at_ms, shape, refused=f"error {_NO_SUCH_DATA:02X}")
        data = request.data + content.data
        whole = frame(section.meter_type, meter.address, READ | ANSWER, data)
        return Answer(whole, at_ms, shape, content.values)

    def _request_frame(self, request: Request) -> bytes:
        return request.frame

    def _refusal(self, meter: Cjt188Meter, request: Request, word: int) -> bytes:
        control = request.control | ANSWER | ABNORMAL
        data = bytes((request.data[2], word, 0))  # the serial number, then the state
        return frame(meter.profile.cjt188.meter_type, meter.address, control, data)

    def _from_neighbour(self, answer: bytes) -> bytes:
        meter_type, address, control, data = parts(answer)
        digit = (int(address[-1], 16) + 1) % 10
        return frame(meter_type, f"{address[:-1]}{digit}", control, data)

    def _to_another_question(self, answer: bytes) -> bytes:
        """The answer to the question before this one: under its serial number."""
        meter_type, address, control, data = parts(answer)
        at = 0 if control & ABNORMAL else 2
        other = bytes(((data[at] - 1) % 256,))
        return frame(meter_type, address, control, data[:at] + other + data[at + 1 :])
