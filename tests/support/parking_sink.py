"""A sink that keeps what parking sensors say, and can be made to refuse it."""

from collections.abc import Mapping, Sequence

from models.reading import Item, Reading
from tests.support.keeping_sink import KeepingSink


class ParkingSink(KeepingSink):
    """See `KeepingSink`. While `refuse` is an error, `put` raises it and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse: Exception | None = None

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        if self.refuse is not None:
            raise self.refuse
        await super().put(items, marks)

    def readings(self, device: str, point: str) -> list[Reading]:
        """Of one point, in the order in which they were put."""
        return [
            item
            for item in self.items
            if isinstance(item, Reading) and (item.device_id, item.point) == (device, point)
        ]

    def told(self, device: str, point: str = "occupied") -> list[float | None]:
        return [reading.value for reading in self.readings(device, point)]

    def kinds(self, device: str) -> list[str]:
        return [event.kind for event in self.events if event.device_id == device]
