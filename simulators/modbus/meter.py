"""A Modbus meter: a profile on a load, with the anomalies that were asked for."""

from collections.abc import Callable, Mapping

from models.profile.modbus import ModbusProfile
from simulators.building import Building
from simulators.metered import Metered
from simulators.modbus.frames import Read, Write
from simulators.modbus.image import Gaps, Image, Shape
from simulators.modbus.points import MeterPoint
from simulators.noise import key_of
from simulators.quantities import quantity_of


class ModbusMeter(Metered):
    """One meter behind one unit id."""

    def __init__(
        self,
        meter_id: str,
        *,
        unit: int,
        profile: ModbusProfile,
        building: Building,
        kw: float,
        origin_ms: int,
        now_ms: Callable[[], int],
        night_share: float | None = None,
        parameters: Mapping[str, float] | None = None,
        gaps: Gaps = "as_profile",
    ) -> None:
        super().__init__(
            meter_id,
            profile=profile,
            building=building,
            kw=kw,
            origin_ms=origin_ms,
            now_ms=now_ms,
            night_share=night_share,
            parameters=parameters,
        )
        self.unit, self.profile = unit, profile
        self.reply_timeout_s = profile.modbus.reply_timeout_s
        self.wake_bytes = 0
        seed_key = key_of(building.seed, "meter", meter_id)
        points = [
            MeterPoint(
                point,
                profile,
                self.parameters,
                quantity_of(point, self._consumer, self.parameters, seed_key=seed_key),
            )
            for point in profile.points
        ]
        self._points = points
        self._image = Image(profile, points, gaps)

    def shape(self, read: Read) -> Shape | int:
        """The points that a request touches, or the code of the exception that refuses it."""
        return self._image.shape(read)

    def write(self, write: Write, *, is_done: bool = True) -> bool:
        """Set registers or bits that the profile calls writable; False when some of them are not."""
        return self._image.write(write, is_done=is_done)

    @property
    def identification(self) -> tuple[str, str, str] | None:
        """Vendor, product and revision, when the profile knows how the device calls itself."""
        if not self.profile.identifications:
            return None
        known = self.profile.identifications[0]
        return known.vendor or "Simulated", known.product or self.profile.profile, "V1.0"

    def content(self, read: Read, shape: Shape, at_ms: int) -> tuple[bytes, list[float | None]]:
        """The bytes of the reply, and the values that a person reads off the whole points in it."""
        sample, shift = self._state(at_ms)
        return self._image.content(read, shape, sample, shift)

    def display(self, at_ms: int) -> dict[str, float | None]:
        """Every point's value as a person reads it off the meter; None: the meter says, not available."""
        sample, shift = self._state(at_ms)
        return self._image.display(sample, shift)
