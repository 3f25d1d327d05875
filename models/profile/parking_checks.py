"""Finds the mistakes of parking profiles that only show when one is looked at as a whole."""

from collections.abc import Iterator

from models.document import Mistake
from models.document_hints import suggest
from models.parking import BayState, bay_of
from models.profile import checks
from models.profile.checks import Path
from models.profile.parking_controller import ControllerGolden, ParkingControllerProfile
from models.profile.parking_sensor import Frame, ParkingSensorProfile, Part, SensorPoint
from models.profile.parking_zone import ParkingZoneProfile
from models.profile.parts import Profile

COUNTS = tuple(f"bays_{state}" for state in BayState)


def find_sensor_mistakes(profile: ParkingSensorProfile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    yield from _all_points(profile)
    told = {part.point for frame in profile.lorawan.frames for part in frame.all_parts()}
    for index, point in enumerate(profile.points):
        yield from _origin(profile, point, point.name in told, ("points", index))
    if "occupied" not in {point.name for point in profile.points}:
        yield Mistake(("points",), "no point 'occupied' tells whether a car is there", "add one")
    names = [point.name for point in profile.points]
    seen: set[str] = set()
    for index, frame in enumerate(profile.lorawan.frames):
        path = ("lorawan", "frames", index)
        if frame.name in seen:
            yield Mistake((*path, "name"), f"a frame '{frame.name}' stands above already")
        seen.add(frame.name)
        yield from _frame(frame, names, path)
    for index, name in enumerate(profile.lorawan.faults):
        if name not in told:
            hint = suggest(name, told)
            yield Mistake(("lorawan", "faults", index), f"no frame has a point '{name}'", hint)
    for index, golden in enumerate(profile.golden):
        data = bytes.fromhex(golden.payload)
        if not any(frame.fits(golden.port, data) for frame in profile.lorawan.frames):
            what = f"is none of the frames on fPort {golden.port}"
            yield Mistake(("golden", index, "payload"), what)
        yield from _known(("golden", index, "values"), golden.values, names)


def find_controller_mistakes(profile: ParkingControllerProfile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    yield from _all_points(profile)
    detectors: set[int] = set()
    for index, point in enumerate(profile.points):
        if bay_of(point.name) is None or point.kind != "state":
            what = "is no state of a bay"
            yield Mistake(("points", index, "name"), what, "name: bay_01_occupied, kind: state")
        if point.detector in detectors:
            what = f"detector {point.detector} stands above already"
            yield Mistake(("points", index, "detector"), what)
        detectors.add(point.detector)
    states, path = profile.controller.states, ("controller", "states")
    groups = {"free": states.free, "occupied": states.occupied, "faulty": states.faulty}
    meanings: dict[int, str] = {}
    for key, numbers in groups.items():
        for number in numbers:
            if number >= 1 << states.bits:
                yield Mistake((*path, key), f"{number} does not fit into {states.bits} bits")
            if meanings.setdefault(number, key) != key:
                yield Mistake((*path, key), f"{number} means {meanings[number]} already")
    if profile.controller.reply_flag & profile.controller.function:
        yield Mistake(("controller", "reply_flag"), "has a bit that the function has as well")
    for index, golden in enumerate(profile.golden):
        yield from _frames_of(golden, ("golden", index))
        yield from _known(("golden", index, "values"), golden.values, [p.name for p in profile.points])


def find_zone_mistakes(profile: ParkingZoneProfile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    yield from _all_points(profile)
    for index, point in enumerate(profile.points):
        if point.name not in COUNTS:
            what = f"there is no count '{point.name}'"
            yield Mistake(("points", index, "name"), what, "have: " + ", ".join(COUNTS))


def _all_points(profile: Profile) -> Iterator[Mistake]:
    yield from checks.names(profile)
    for index, point in enumerate(profile.points):
        yield from checks.meaning(profile, point, ("points", index))


def _origin(
    profile: ParkingSensorProfile, point: SensorPoint, is_told: bool, path: Path
) -> Iterator[Mistake]:
    """Where a point comes from: one of frame, network and distance."""
    if is_told + (point.network is not None) + (point.nearer is not None) != 1:
        what = "must be in a frame, or have `network` or `nearer`, and not two of them"
        yield Mistake((*path, "name"), what)
    if point.nearer is None:
        return
    names = [other.name for other in profile.points]
    if point.nearer.distance not in names:
        what = f"there is no point '{point.nearer.distance}'"
        yield Mistake((*path, "nearer", "distance"), what, suggest(point.nearer.distance, names))
    for key in ("floor", "height", "hysteresis"):
        name = getattr(point.nearer, key)
        if name not in profile.parameters:
            what = f"'{name}' is no parameter of this profile"
            yield Mistake((*path, "nearer", key), what, suggest(name, profile.parameters) or "add it below")


def _frame(frame: Frame, names: list[str], path: Path) -> Iterator[Mistake]:
    if frame.min_bytes > frame.max_bytes:
        yield Mistake((*path, "min_bytes"), f"is above max_bytes, {frame.max_bytes}")
    if frame.channels and frame.parts:
        yield Mistake((*path, "parts"), "a chain of channels has nothing at fixed places", "choose one")
    if frame.facts and not frame.event:
        yield Mistake((*path, "facts"), "go into the event of a frame, and this one has none")
    for index, fact in enumerate(frame.facts):
        if fact.end > frame.max_bytes:
            yield Mistake((*path, "facts", index), "ends behind the longest frame")
    for index, part in enumerate(frame.parts):
        yield from _part(part, names, frame.max_bytes, (*path, "parts", index))
    keys: list[bytes] = []
    for c, channel in enumerate(frame.channels):
        if any(channel.key_bytes.startswith(key) or key.startswith(channel.key_bytes) for key in keys):
            yield Mistake((*path, "channels", c, "key"), "begins like that of another channel above")
        keys.append(channel.key_bytes)
        for index, part in enumerate(channel.parts):
            yield from _part(part, names, channel.size, (*path, "channels", c, "parts", index))


def _part(part: Part, names: list[str], size: int, path: Path) -> Iterator[Mistake]:
    if part.point not in names:
        yield Mistake((*path, "point"), f"there is no point '{part.point}'", suggest(part.point, names))
    if part.end > size:
        yield Mistake((*path, "offset"), f"it ends at byte {part.end}, and there are {size}")
    if part.mask is not None and part.mask >> (8 * part.size):
        yield Mistake((*path, "mask"), f"is wider than {part.size} bytes")


def _frames_of(golden: ControllerGolden, path: Path) -> Iterator[Mistake]:
    for key in ("request", "reply"):
        try:
            is_frame = len(bytes.fromhex(getattr(golden, key))) > 4
        except ValueError:
            is_frame = False
        if not is_frame:
            yield Mistake((*path, key), "is no frame", "hex, from the start byte to the CRC")


def _known(path: Path, values: dict[str, float | None], names: list[str]) -> Iterator[Mistake]:
    for name in values:
        if name not in names:
            yield Mistake((*path, name), f"there is no point '{name}'", suggest(name, names))
