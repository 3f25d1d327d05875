"""Reads profile files of all families, and publishes their schema."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter

from models.document import Document, DocumentMistakes, Mistake, parse_document
from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import (
    access_checks,
    ble_checks,
    cjt188_checks,
    dlt645_checks,
    modbus_checks,
    parking_checks,
)
from models.profile.access import AccessProfile, OsdpProfile
from models.profile.ble import BleProfile
from models.profile.cjt188 import Cjt188Profile
from models.profile.dlt645 import Dlt645Profile
from models.profile.inherit import inherited
from models.profile.modbus import ModbusProfile
from models.profile.parking_controller import ParkingControllerProfile
from models.profile.parking_sensor import ParkingSensorProfile
from models.profile.parking_zone import ParkingZoneProfile
from models.profile.parts import Profile

MOST_ANCESTORS = 8

P = TypeVar("P", bound=Profile)


class WrongFamily(NeedsAHuman):
    """The profile is one of another family than is asked for."""

    def __init__(self, profile: str, family: str) -> None:
        super().__init__(f"profile {profile} is one of the family {family}, which does not fit here")
        self.profile, self.family = profile, family


class Family(NamedTuple):
    """One family of devices: the model of its profiles, and what looks at one as a whole."""

    model: type[Any]
    check: Callable[[Any], Iterator[Mistake]]


FAMILIES: dict[str, Family] = {
    "access": Family(AccessProfile, access_checks.find_mistakes),
    "ble": Family(BleProfile, ble_checks.find_mistakes),
    "cjt188": Family(Cjt188Profile, cjt188_checks.find_mistakes),
    "dlt645": Family(Dlt645Profile, dlt645_checks.find_mistakes),
    "modbus": Family(ModbusProfile, modbus_checks.find_mistakes),
    "osdp": Family(OsdpProfile, access_checks.find_reader_mistakes),
    "parking_controller": Family(ParkingControllerProfile, parking_checks.find_controller_mistakes),
    "parking_sensor": Family(ParkingSensorProfile, parking_checks.find_sensor_mistakes),
    "parking_zone": Family(ParkingZoneProfile, parking_checks.find_zone_mistakes),
}

Find = Callable[[str], tuple[str | bytes, str] | None]
"""The text of the profile of that name, and what messages call its file; None: there is none."""

Check = Callable[[Any], Iterable[Mistake]]
"""What is wrong with a profile whose single values are right."""


def _nothing(name: str) -> None:
    """For a profile that stands alone."""


def _no_mistakes(profile: Profile) -> tuple[()]:
    """For a profile that nobody else has to say something about."""
    return ()


def load_profile(
    text: str | bytes, name: str, find: Find = _nothing, *, check: Check = _no_mistakes
) -> Profile:
    """Read a profile, checked as a whole. `name` is what messages call the file.

    `find` gives the profiles that it may extend. `check` is asked as well, once all else is right.
    Raises models.document.DocumentMistakes; those of a profile that is extended are told in its own file.
    """
    return _validated(_whole(parse_document(text, file=name), find, ()), check)


def as_family(profile: Profile, model: type[P]) -> P:
    """The profile as one of the family of `model`. Raises WrongFamily."""
    if not isinstance(profile, model):
        raise WrongFamily(profile.profile, profile.family)
    return profile


def profile_json_schema() -> dict[str, Any]:
    """The JSON Schema of a profile file, for editors."""
    models: Any = None
    for family in FAMILIES.values():
        models = family.model if models is None else models | family.model
    schema = TypeAdapter(models).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Profile"}


def _validated(document: Document, check: Check = _no_mistakes) -> Profile:
    told = _told(document, "family")
    near = difflib.get_close_matches(told.lower(), FAMILIES, n=1)  # for a typo: the other mistakes show too
    family = FAMILIES.get(told) or (FAMILIES[near[0]] if near else None)
    if family is None:
        raise DocumentMistakes([document.problem(_family_mistake(document))])
    of_family = family.check

    def all_of_it(profile: Any) -> Iterator[Mistake]:
        mistakes = list(of_family(profile))
        yield from mistakes or check(profile)

    profile: Profile = document.validate(family.model, all_of_it)
    return profile


def _whole(document: Document, find: Find, children: tuple[str, ...]) -> Document:
    """The document with what it inherits."""
    extends = _told(document, "extends")
    if not extends:
        return document
    chain = (*children, extends)
    if extends in children:
        raise _cannot_extend(document, f"comes back to itself: {' → '.join(chain)}", "extend another one")
    if len(chain) > MOST_ANCESTORS:
        what = f"is the {len(chain)}th in a row: {' → '.join(chain)}"
        raise _cannot_extend(document, what, f"{MOST_ANCESTORS} is the most")
    found = find(extends)
    if found is None:
        raise _cannot_extend(
            document, f"there is no profile '{extends}'", "`edge-agent profiles list` has all"
        )
    parent = _whole(parse_document(found[0], file=found[1]), find, chain)
    _validated(parent)
    return inherited(document, parent.data)


def _cannot_extend(document: Document, what: str, hint: str) -> DocumentMistakes:
    return DocumentMistakes([document.problem(Mistake(("extends",), what, hint))])


def _told(document: Document, key: str) -> str:
    value = document.data.get(key) if isinstance(document.data, dict) else None
    return value if isinstance(value, str) else ""


def _family_mistake(document: Document) -> Mistake:
    if not isinstance(document.data, dict):
        return Mistake((), "must be a mapping", "write `key: value` lines")
    if "family" not in document.data:
        return Mistake(("family",), "is missing", "have: " + ", ".join(sorted(FAMILIES)))
    family = document.data["family"]
    return Mistake(("family",), f"there is no family '{family}'", suggest(str(family), FAMILIES))
