"""Looking at profiles, and checking one's own."""

from pathlib import Path

from edge_agent.catalogue import Catalogue
from edge_agent.commands.answer import Answer, table
from models.errors import NeedsAHuman
from models.profile import Point, Profile, load_profile, profile_json_schema


def list_profiles(own: Path | None) -> Answer:
    catalogue = Catalogue(own)
    profiles = [catalogue.load(name) for name in catalogue.names()]
    facts = [
        {
            "profile": profile.profile,
            "version": profile.version,
            "title": profile.title,
            "family": profile.family,
            "verified": profile.verified,
            "points": len(profile.points),
            "own": profile.profile in catalogue.own,
        }
        for profile in profiles
    ]
    rows = [
        [profile.profile, profile.title, str(len(profile.points)), "yes" if profile.verified else "NO"]
        for profile in profiles
    ]
    return Answer(facts, table(["profile", "device", "points", "checked against a source"], rows))


def show_profile(name: str, own: Path | None) -> Answer:
    profile = Catalogue(own).load(name)
    rows = [
        [
            point.name,
            point.unit,
            point.kind,
            point.place,
            _scaling(point),
        ]
        for point in profile.points
    ]
    parameters = ", ".join(f"{name}={value:g}" for name, value in profile.parameters.items()) or "none"
    text = "\n".join(
        [
            f"{profile.profile} version {profile.version}: {profile.title}",
            f"source: {profile.source}" + ("" if profile.verified else " (not checked by anybody)"),
            f"parameters: {parameters}",
            "",
            table(["point", "unit", "kind", "place", "scale"], rows),
        ]
    )
    return Answer(profile.model_dump(mode="json"), text)


def check_profile(path: Path) -> Answer:
    """All its mistakes are raised."""
    try:
        profile: Profile = load_profile(path.read_bytes(), str(path), Catalogue(path.parent).find)
    except OSError as err:
        raise NeedsAHuman(f"{path}: {err.strerror}; name a profile file") from err
    named = path.name.removesuffix(".yaml")
    if profile.profile != named:
        raise NeedsAHuman(
            f"{path}: holds the profile '{profile.profile}', but devices find it by its file's name; "
            f"call the file {profile.profile}.yaml"
        )
    facts = {"profile": profile.profile, "points": len(profile.points), "golden": len(profile.golden)}
    text = f"{path}: no mistakes. Points: {len(profile.points)}, golden frames: {len(profile.golden)}"
    return Answer(facts, text)


def schema() -> Answer:
    """The same for people and programs: it is for editors."""
    import json

    described = profile_json_schema()
    return Answer(described, json.dumps(described, indent=2, ensure_ascii=False))


def _scaling(point: Point) -> str:
    parts = [f"{point.scale:g}", *point.multiply_by]
    return " x ".join(parts) + (f" + {point.offset:g}" if point.offset else "")
