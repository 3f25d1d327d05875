"""Reads from the log of a controller what has not arrived by itself."""

from typing import Final

from drivers.access.errors import BadBody
from drivers.access.intake import Intake
from drivers.access.isapi import Isapi, new_search
from drivers.access.serials import LogPosition

_ROUNDS: Final = 2
"""How often the log is read for a hole before it counts as lost: while a log is read in pages, its oldest
events may be dropped, and the next page then begins further on."""


async def catch_up(controller: Isapi, intake: Intake, *, page_size: int) -> None:
    """Take all events that the log has and we have not; tell what is lost, and if its numbers began again.

    Raises what `Isapi.search_log` does; what was taken until then stays taken.
    """
    if await _has_begun_again(controller, intake.position):
        await intake.begin_again()
    intake.is_sure = True
    is_new = intake.position.upto == 0 and intake.position.numbering == 0
    for _ in range(_ROUNDS):
        lowest, highest = await _read_on(controller, intake, page_size)
        if is_new and lowest > 1:
            await intake.forget_older(lowest)
        lost = [(first, min(last, highest - 1)) for first, last in intake.position.holes if first < highest]
        if not lost:
            break
    else:
        await intake.give_up(lost, why="not_in_log")
    await intake.drop_anchor()


async def _has_begun_again(controller: Isapi, position: LogPosition) -> bool:
    """Whether the event that the log is known by is another one now, or is gone though others are there."""
    known_by = position.known_by
    if known_by == 0:
        return False
    page = await controller.search_log(begin=known_by, position=0, count=1, search=new_search())
    for event in page.events:
        if event.serial == known_by:
            return not position.is_still(event.serial, event.print)
    if page.count:
        return False
    return bool((await controller.search_log(begin=1, position=0, count=1, search=new_search())).count)


async def _read_on(controller: Isapi, intake: Intake, page_size: int) -> tuple[int, int]:
    """Read the log from the first event that is missing to its end: the lowest and highest number in it."""
    begin, search, at = intake.position.upto + 1, new_search(), 0
    lowest = highest = 0
    before: set[int] = set()
    while True:
        page = await controller.search_log(begin=begin, position=at, count=page_size, search=search)
        await intake.take(page.events, from_log=True)
        serials = {event.serial for event in page.events if event.serial is not None}
        if serials:
            lowest = min(lowest or min(serials), min(serials))
            highest = max(highest, max(serials))
        if page.is_last:
            return lowest, highest
        if page.count == 0 or (serials and serials <= before):
            raise BadBody("a log that comes to no end")
        before, at = serials, at + page.count
