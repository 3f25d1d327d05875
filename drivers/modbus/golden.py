"""Holds the values that a profile promises for its golden frames against what the driver makes of them."""

from collections.abc import Iterator

from drivers.modbus.decode import ReplyDecoder
from drivers.modbus.plan import Request
from models.document import Mistake
from models.profile.modbus import ModbusProfile, Table
from models.profile.modbus_checks import pdu
from models.reading import Quality, Reading

_TABLES: dict[int, Table] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


def golden_mistakes(profile: ModbusProfile) -> Iterator[Mistake]:
    """Values that the frames do not carry. `profile` has no other mistakes."""
    for index, golden in enumerate(profile.golden):
        request, reply = pdu(golden.request), pdu(golden.reply)
        if request is None or reply is None:
            continue  # which loading the profile has told
        asked = [place for place, point in enumerate(profile.points) if point.name in golden.values]
        parameters = profile.settled_parameters(golden.parameters)
        first, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        decoder = ReplyDecoder(
            Request(_TABLES[request[0]], first, count, tuple(asked)),
            profile.points,
            profile.modbus,
            parameters,
            profile.profile,
        )
        readings: list[Reading | None] = [None] * len(profile.points)
        decoder.decode(reply[2:], 0, 0, readings)
        for reading in filter(None, readings):
            where = ("golden", index, "values", reading.point)
            if reading.value != golden.values[reading.point]:
                told = "that there is none" if reading.value is None else f"{reading.value:.15g}"
                yield Mistake(where, f"the reply says {told}", "correct the point, or the value here")
            elif reading.quality is Quality.SUSPECT:
                yield Mistake(where, "lies outside of the point's min and max", "correct one of them")
