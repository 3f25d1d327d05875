"""Turns the event of a vendor into one of ours, without anything that names a person. Pure.

Not a single text of the controller gets into the event: all words in it are those of the profile and of the
configuration, all else are numbers and pseudonyms. So no name, card number or address can slip through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.access.heard import VendorEvent
from models.profile.access import AccessProfile
from models.pseudonym import Pseudonymiser

UNKNOWN = "door.unknown"


@dataclass(frozen=True, slots=True)
class Site:
    """What the configuration says of a controller's doors and readers, by number."""

    doors: Mapping[int, str]  # names
    readers: Mapping[int, str]  # "in" or "out"


def normalise(
    event: VendorEvent, profile: AccessProfile, site: Site, pseudonyms: Pseudonymiser
) -> tuple[str, dict[str, Any]]:
    """The kind and the data of an event; docs/events.md describes both.

    A code that the profile does not know is `door.unknown`: its meaning is never guessed.
    """
    code = profile.code(event.major, event.minor)
    data: dict[str, Any] = {"code": f"{event.major}/{event.minor}"}
    if event.serial is not None:
        data["serial"] = event.serial
    if event.door is not None:
        data["door"] = event.door
        if event.door in site.doors:
            data["door_name"] = site.doors[event.door]
    if event.reader is not None:
        data["reader"] = event.reader
        if event.reader in site.readers:
            data["direction"] = site.readers[event.reader]
    if event.card is not None:
        alias = pseudonyms.card(event.card)
        data["pseudonym"] = alias.pseudonym
        if alias.last4 is not None:
            data["last4"] = alias.last4
    if event.person is not None:
        data["person"] = pseudonyms.person(event.person)
    if code is None:
        return UNKNOWN, data
    if code.reason is not None:
        data["reason"] = code.reason
    if code.credential is not None:
        data["credential"] = code.credential
    if code.kind in ("door.other", "door.fault", "door.fault_ended", "door.tamper", "door.tamper_ended"):
        data["what"] = code.title
    return code.kind, data
