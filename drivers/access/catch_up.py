"""Reads from the log of a controller what has not arrived by itself.

Each page begins with an event that is known, which must still be the same one: then all of the page belongs
to the numbering that it is taken for. A check in a request of its own would leave a moment between the two.
"""

from typing import Final

from drivers.access.errors import BadBody
from drivers.access.heard import Page
from drivers.access.intake import Intake
from drivers.access.isapi import Isapi, new_search
from drivers.access.serials import Print, same

_ROUNDS: Final = 2
"""How often the log is read for a hole before it counts as lost: an event may be written while it is read."""


async def catch_up(controller: Isapi, intake: Intake, *, page_size: int) -> None:
    """Take all events that the log has and we have not; tell what is lost, and if its numbers began again.

    Raises what `Isapi.search_log` does; what was taken until then stays taken.
    """
    for _ in range(_ROUNDS):
        is_new = intake.position.upto == 0 and intake.position.numbering == 0
        span = await _read_on(controller, intake, page_size)
        if span is None:  # they began again: there is more to read, from the first
            await intake.begin_again()
            span = await _read_on(controller, intake, page_size) or (0, 0)
        lowest, highest = span
        if is_new and lowest > 1:
            await intake.forget_older(lowest)
        lost = [(first, min(last, highest - 1)) for first, last in intake.position.holes if first < highest]
        if not lost:
            break
    else:
        await intake.give_up(lost, why="not_in_log")
    await intake.drop_anchor()


async def _read_on(controller: Isapi, intake: Intake, page_size: int) -> tuple[int, int] | None:
    """Read the log from the event that it is known by to its end: the lowest and highest number in it.

    None: the numbers have begun again, and nothing of the new ones was taken.
    """
    begin, expected = intake.position.known_by, intake.position.print_of(intake.position.known_by)
    lowest = highest = at = 0
    by_number, before = True, set[int]()
    while True:
        page = await controller.search_log(
            begin=max(begin, 1), position=at, count=page_size, search=new_search()
        )
        serials = [event.serial for event in page.events if event.serial is not None]
        by_number = by_number and not any(serial < begin for serial in serials)
        if by_number and await _is_another_log(controller, page, begin, expected):
            return None
        intake.is_sure = True
        await intake.take(page.events, from_log=True)
        if serials:
            lowest, highest = min(lowest or min(serials), *serials), max(highest, *serials)
        if page.is_last:
            return lowest, highest
        if by_number and serials and max(serials) > begin:
            begin, at = max(serials), 0
            expected = next(event.print for event in page.events if event.serial == begin)
        elif serials and before >= set(serials):
            raise BadBody("a log that comes to no end")
        else:  # it gives its log from the start, whatever it is asked
            at += page.count
        before = set(serials)


async def _is_another_log(controller: Isapi, page: Page, begin: int, expected: Print | None) -> bool:
    """Whether the event that the page should begin with is another one, or gone though others are there."""
    if begin == 0:
        return False
    for event in page.events:
        if event.serial == begin:
            return expected is not None and not same(event.print, expected)
    if page.count:
        return False  # it was overwritten: all that is left is younger
    return bool((await controller.search_log(begin=1, position=0, count=1, search=new_search())).count)
