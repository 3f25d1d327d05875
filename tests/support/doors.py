"""A simulated door controller and the listener for it, for the length of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from drivers.access.controller import DoorController, PushAddress
from drivers.access.isapi import Isapi, certificates_from
from drivers.access.normalise import Site
from drivers.contract import Sink
from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.access import AccessProfile
from models.pseudonym import Pseudonymiser
from models.reading import Event
from models.times import Clock
from simulators.access.controller import SimulatedController, running_controller
from simulators.access.sections import DoorControllerSection
from simulators.ledger import LedgerWriter
from tests.support.keeping_sink import PATIENCE_S

KEY = bytes(range(32))
SECRET_PATH = "/events/q7Wm2xTz9LkPf4Rb"
PROFILES = {"isapi": "hikvision-access", "shifted": "isapi-shifted-access"}


def a_section(**given: Any) -> DoorControllerSection:
    settings: dict[str, Any] = {"id": "door", "people": 6, "doors": 2}
    return DoorControllerSection(**(settings | given))


def the_listener(
    url: str, clock: Clock, *, make: str = "isapi", pushes: bool = False, password: str = "", **given: Any
) -> DoorController:
    """A listener with the shipped profile; `period_s` and other things may be given."""
    profile = as_family(Catalogue().load(PROFILES[make]), AccessProfile)
    isapi = profile.isapi.model_copy(update=given.pop("isapi", {}))
    controller = Isapi(
        url,
        username="gateway",
        password=password or a_section().password,
        certificates=certificates_from(None),
        reply_timeout_s=5.0,
    )
    settings: dict[str, Any] = {
        "device_id": "door",
        "profile": profile.model_copy(update={"isapi": isapi}),
        "controller": controller,
        "site": Site({}, {}),
        "push": PushAddress("127.0.0.1", 0, SECRET_PATH) if pushes else None,
        "pseudonyms": Pseudonymiser(KEY),
        "period_s": 60.0,
        "clock": clock,
    }
    return DoorController(**(settings | given))


@asynccontextmanager
async def listening(
    listener: DoorController, sink: Sink, controller: SimulatedController | None = None
) -> AsyncIterator[DoorController]:
    """Listen while the block runs; what `controller` still has to push is taken before the end."""
    task = asyncio.create_task(listener.run(sink), name="listener")
    try:
        yield listener
        if controller is not None:
            await controller.settled()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (err := task.exception()) is not None:
            raise err


@asynccontextmanager
async def a_controller(
    section: DoorControllerSection, clock: Clock, *, ledger: LedgerWriter | None = None, seed: int = 7
) -> AsyncIterator[SimulatedController]:
    async with running_controller(
        section, clock=clock, seed=seed, origin_ms=clock.now_ms(), ledger=ledger
    ) as controller:
        yield controller


async def eventually(is_so: Callable[[], object]) -> None:
    """Wait, in real time, until it is so; for what rings no bell."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def pushing(controller: SimulatedController, listener: DoorController) -> None:
    """Let the controller push to the listener, once that has a port."""
    controller.delivery.push_url = f"http://127.0.0.1:{await push_port(listener)}{SECRET_PATH}"


async def push_port(listener: DoorController) -> int:
    """Where the listener is pushed to, once it listens."""
    assert listener.push is not None
    async with asyncio.timeout(5):
        await listener.push.ready.wait()
    return listener.push.port


def serials(events: list[Event]) -> list[int]:
    return [event.data["serial"] for event in events if "serial" in event.data]


def known_of(controller: SimulatedController) -> list[tuple[str, dict[str, Any]]]:
    """What an ideal reader makes of all that is in the log."""
    return [controller.meaning(entry) for entry in controller.state.log.find(first=1, last=None)]


def agrees(event: Event, kind: str, data: dict[str, Any]) -> bool:
    return event.kind == kind and data.items() <= event.data.items()
