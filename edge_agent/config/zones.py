"""Finds the mistakes of devices whose bays belong to a parking zone."""

from collections.abc import Iterator, Mapping, Sequence

from edge_agent.config.sections import DeviceSection
from models.document_hints import suggest
from models.parking import bay_of
from models.profile import Profile
from models.profile.parking_zone import ParkingZoneProfile


def zone_mistakes(
    device: DeviceSection,
    profile: Profile,
    devices: Sequence[DeviceSection],
    profiles: Mapping[str, Profile],
) -> Iterator[tuple[str, str]]:
    """What is wrong with the zone of a device, and a hint."""
    if device.zone is None:
        return
    zones = [each.id for each in devices if isinstance(profiles.get(each.profile), ParkingZoneProfile)]
    if device.zone not in zones:
        yield f"no parking zone '{device.zone}'", suggest(device.zone, zones) or "add it to devices"
    if not bays_of(profile):
        yield f"{profile.profile} has no bays", "its points are not called occupied, or bay_01_occupied"


def bays_of(profile: Profile) -> list[str]:
    """The points that tell whether a bay is occupied."""
    return [
        point.name for point in profile.points if point.kind == "state" and bay_of(point.name) is not None
    ]
