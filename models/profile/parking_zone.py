"""The profile of a parking zone: no thing on a wall, but the counts of the bays that belong to it."""

from typing import ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Profile


class ParkingZoneProfile(Profile):
    """One way to count a zone; its points are named `bays_` and a state of `models.parking.BayState`."""

    buses: ClassVar = ("parking",)
    addressing: ClassVar = Addressing("id", told="its own id; bays name it as their zone")

    family: Literal["parking_zone"] = Field(description="the driver that talks to it")
