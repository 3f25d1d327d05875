"""What a device's configuration gives of the parameters of its profile."""

from collections.abc import Mapping

from drivers.contract import ProfileMismatch
from models.profile import Profile, parameter_mistakes


def check_parameters(device_id: str, profile: Profile, given: Mapping[str, float]) -> None:
    """Raises ProfileMismatch when the profile lacks one of the parameters, or its value is none."""
    for mistake in parameter_mistakes(profile, dict(given)):
        detail = f"{mistake.path[-1]}: {mistake.what}" + (f" ({mistake.hint})" if mistake.hint else "")
        raise ProfileMismatch(device_id, profile.profile, detail)
