"""A profile: what one model of device has to say, and where; the data that a driver works from."""

from models.profile.describe import describe, multiplier, parameter_mistakes
from models.profile.load import FAMILIES, WrongFamily, as_family, load_profile, profile_json_schema
from models.profile.parts import Point, Profile

__all__ = [
    "FAMILIES",
    "Point",
    "Profile",
    "WrongFamily",
    "as_family",
    "describe",
    "load_profile",
    "multiplier",
    "parameter_mistakes",
    "profile_json_schema",
]
