"""The zone controllers on a line, each with the ultrasonic detectors above its bays."""

from collections.abc import Sequence

from models.profile.parking_controller import ParkingControllerProfile
from models.times import Clock
from simulators.building import Building
from simulators.faults import FaultSet
from simulators.ledger import LedgerWriter
from simulators.line.talker import Answer, MeterTalker
from simulators.parking.controller_frames import Request, frame, take_requests
from simulators.parking.stays import Stays

TABLE = "detectors"


class SimulatedController:
    """One controller; `broken` are the detectors that it cannot hear."""

    wake_bytes = 0

    def __init__(
        self,
        device: str,
        *,
        unit: int,
        profile: ParkingControllerProfile,
        building: Building,
        broken: Sequence[int],
        origin_ms: int,
        clock: Clock,
    ) -> None:
        self.id, self.unit, self.profile = device, unit, profile
        self.broken = set(broken)
        self.reply_timeout_s = profile.controller.reply_timeout_s
        self.faults = FaultSet(device, seed=building.seed, origin_ms=origin_ms, now_ms=clock.now_ms)
        self._stays = {
            point.detector: Stays(f"{device} {point.detector}", building) for point in profile.points
        }

    def values(self, at_ms: int) -> list[float | None]:
        """Of its points, in the order of the profile."""
        return [
            None if point.detector in self.broken else float(self._stays[point.detector].is_taken(at_ms))
            for point in self.profile.points
        ]

    def data(self, values: Sequence[float | None]) -> bytes:
        """As a reply has them."""
        states = self.profile.controller.states
        numbers = {None: (*states.faulty, 0)[0], 0.0: states.free[0], 1.0: states.occupied[0]}
        detectors = {
            point.detector: numbers[value] for point, value in zip(self.profile.points, values, strict=True)
        }
        per_byte = 8 // states.bits
        data = bytearray(states.offset + -(-max(detectors) // per_byte))
        for detector, number in detectors.items():
            byte, slot = divmod(detector - 1, per_byte)
            shift = states.bits * (slot if states.lowest_first else per_byte - 1 - slot)
            data[states.offset + byte] |= number << shift
        return bytes(data)


class ControllerTalker(MeterTalker[SimulatedController, Request]):
    """All controllers of one kind on one line."""

    def __init__(
        self,
        controllers: Sequence[SimulatedController],
        *,
        name: str,
        seed: int,
        origin_ms: int,
        clock: Clock,
        ledger: LedgerWriter | None = None,
    ) -> None:
        super().__init__(controllers, name=name, seed=seed, origin_ms=origin_ms, clock=clock, ledger=ledger)
        self._section = controllers[0].profile.controller

    def _take(self, stream: bytearray) -> list[Request]:
        return take_requests(self._section, stream)

    def _is_meant(self, request: Request, meter: SimulatedController) -> bool:
        return request.address == meter.unit

    def _answer(
        self, meter: SimulatedController, request: Request, at_ms: int, *, is_spoiled: bool
    ) -> Answer | None:
        section = self._section
        if request.control & section.reply_flag:
            return None  # another controller speaks
        names = [point.name for point in meter.profile.points]
        shape = self._shape(meter, TABLE, request.control, names)
        if request.control != section.function:
            return Answer(self._refusal(meter, request, 0), at_ms, shape, refused="error")
        values = meter.values(at_ms)
        control = section.reply_flag | section.function
        return Answer(frame(section, meter.unit, control, meter.data(values)), at_ms, shape, values)

    def _request_frame(self, request: Request) -> bytes:
        return request.frame

    def _refusal(self, meter: SimulatedController, request: Request, word: int) -> bytes:
        section = self._section
        control = section.reply_flag | section.error_flag | request.control
        return frame(section, meter.unit, control, b"")

    def _from_neighbour(self, answer: bytes) -> bytes:
        head = 3 + self._section.length_bytes
        return frame(self._section, answer[1] % 254 + 1, answer[2], answer[head:-2])

    def _to_another_question(self, answer: bytes) -> bytes:
        """The answer to a question for the addresses of the detectors."""
        head = 3 + self._section.length_bytes
        return frame(self._section, answer[1], answer[2] ^ 0x01, answer[head:-2])
