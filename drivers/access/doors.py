"""Opens, locks and unlocks the doors of a controller, and looks whether it did."""

from typing import Any, Final

from drivers.access.errors import BadBody, NotOffered, SaidNo
from drivers.access.heard import read_json
from drivers.access.isapi import Isapi
from drivers.contract import CommandRefused, DeviceUnreachable
from models.profile.access import DoorWords
from models.times import Clock

ACTIONS: Final = ("open_once", "lock", "unlock")

_LOOKS: Final = 4
_LOOK_PAUSE_S: Final = 0.25  # a lock moves within a second, and an open door stays so for some

# AcsWorkStatus of ISAPI, one number for each door.
_LOCK_OPEN: Final = 1  # doorLockStatus; 0: closed
_REMAINS_OPEN: Final = 2  # doorStatus; 3: remains closed, 4: as it should be


async def command_door(
    controller: Isapi, words: DoorWords, *, device_id: str, action: str, door: int, clock: Clock
) -> dict[str, Any]:
    """Do it and return the facts: `confirmed` says whether the controller shows that it is done.

    Raises CommandRefused, and RetryLater when it may not have been done.
    """
    word = getattr(words, action)
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?><RemoteControlDoor><cmd>{word}</cmd></RemoteControlDoor>'
    )
    try:
        await controller.put_xml(f"/ISAPI/AccessControl/RemoteControl/door/{door}", document)
    except (SaidNo, NotOffered) as err:
        raise CommandRefused(device_id, action, str(err)) from err
    facts: dict[str, Any] = {"action": action, "door": door}
    for look in range(_LOOKS):
        if look:
            await clock.sleep(_LOOK_PAUSE_S)
        is_open = await _is_open(controller, door)
        if is_open is None:  # it cannot tell, but has said that it will
            return {**facts, "confirmed": False}
        if is_open is (action != "lock"):
            return {**facts, "confirmed": True}
    if action == "open_once":  # it may be closed again already
        return {**facts, "confirmed": False}
    raise DeviceUnreachable(controller.endpoint, f"says yes to {action}, but door {door} does not follow")


async def _is_open(controller: Isapi, door: int) -> bool | None:
    """Whether the lock of a door lets everybody through; None when the controller does not tell."""
    try:
        shown = read_json(await controller.get("/ISAPI/AccessControl/AcsWorkStatus?format=json"))
    except (NotOffered, SaidNo, BadBody):
        return None
    status = shown.get("AcsWorkStatus")
    lock, mode = _of(status, "doorLockStatus", door), _of(status, "doorStatus", door)
    if lock is None:
        return None
    return lock == _LOCK_OPEN or mode == _REMAINS_OPEN


def _of(status: Any, name: str, door: int) -> int | None:
    values = status.get(name) if isinstance(status, dict) else None
    if not isinstance(values, list) or not 0 < door <= len(values):
        return None
    value = values[door - 1]
    return value if isinstance(value, int) else None
