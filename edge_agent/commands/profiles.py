"""Looking at profiles, and checking one's own."""

from collections.abc import Iterable
from pathlib import Path

from drivers.modbus.golden import golden_mistakes
from edge_agent.catalogue import Catalogue
from edge_agent.commands.answer import Answer, table
from models.document import Mistake
from models.errors import NeedsAHuman
from models.profile import Point, Profile, load_profile, profile_json_schema
from models.profile.modbus import ModbusProfile


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
    """All its mistakes are raised: golden frames that say something else than they should, too."""
    try:
        content = path.read_bytes()
        profile = load_profile(content, str(path), Catalogue(path.parent).find, check=_golden_mistakes)
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


def _golden_mistakes(profile: Profile) -> Iterable[Mistake]:
    return golden_mistakes(profile) if isinstance(profile, ModbusProfile) else ()


def schema() -> Answer:
    """The same for people and programs: it is for editors."""
    import json

    described = profile_json_schema()
    return Answer(described, json.dumps(described, indent=2, ensure_ascii=False))


def _scaling(point: Point) -> str:
    parts = [f"{point.scale:g}", *point.multiply_by]
    return " x ".join(parts) + (f" + {point.offset:g}" if point.offset else "")
