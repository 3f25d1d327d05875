"""What `Listener` promises, for every implementation of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import aiomqtt
import pytest

from drivers.contract import CommandRefused, Listener
from drivers.parking.broker import Broker
from drivers.parking.listener import ChirpStackListener
from drivers.parking.sensor import Sensor
from edge_agent.catalogue import Catalogue
from models.errors import RetryLater
from models.profile import as_family
from models.profile.parking_sensor import ParkingSensorProfile
from models.reading import Item, Quality, Reading
from models.times import Clock
from simulators.access.controller import SimulatedController
from simulators.ble.faults import BleFault
from simulators.ble.sections import BleDeviceSection
from simulators.parking.broker import LocalBroker, local_broker
from tests.support.ble import Rig as BleAir
from tests.support.ble import a_rig
from tests.support.chirpstack import APPLICATION, EUI, an_uplink, topic
from tests.support.clocks import VirtualClock, fast_clock
from tests.support.doors import a_controller, a_section, eventually, listening, the_listener
from tests.support.keeping_sink import PATIENCE_S, KeepingSink
from tests.support.needs import needs_dbus, needs_mosquitto


class Rig(Protocol):
    """A listener with one device, which says something only when it is told to."""

    sink: KeepingSink

    @property
    def device(self) -> str:
        """Its id."""

    @property
    def listener(self) -> Listener:
        """The one of this run of the agent."""

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Run the listener while the block does."""

    def restart(self) -> None:
        """Another listener with the same sink, as after a restart of the agent."""

    async def say(self) -> None:
        """Let the device say something new, which makes at least one item; return when it is stored."""

    async def repeat(self) -> None:
        """Let what the device said last be heard once more."""

    async def wait(self) -> None:
        """Let so much time pass in silence that the device counts as lost."""


class BleRig:
    """A sealed meter before real bleak."""

    device = "m"

    def __init__(self, air: BleAir) -> None:
        self._air = air
        self.sink = air.sink
        self._quiet = air.air.advertiser(self.device).faults.add(BleFault(kind="lost"))

    @staticmethod
    @asynccontextmanager
    async def built() -> AsyncIterator["BleRig"]:
        section = BleDeviceSection(
            id=BleRig.device, address="A4:C1:38:00:00:01", profile="bthome-meter", key="00" * 16
        )
        async with a_rig(section) as air:
            yield BleRig(air)

    @property
    def listener(self) -> Listener:
        return self._air.listener

    def listening(self) -> AbstractAsyncContextManager[None]:
        return self._air.listening()

    def restart(self) -> None:
        self._air.restarted()

    async def say(self) -> None:
        faults, before = self._air.air.advertiser(self.device).faults, len(self.sink.items)
        faults.remove(self._quiet)
        await self._air.play(5)
        self._quiet = faults.add(BleFault(kind="lost"))
        await self._air.until(lambda: len(self.sink.items) > before)

    async def repeat(self) -> None:
        advertiser = self._air.air.advertiser(self.device)
        await advertiser.replay(advertiser.recorded[-1])
        await self._air.settled()

    async def wait(self) -> None:
        await self._air.play(45)


class ParkingRig:
    """A LoRaWAN sensor behind a real broker."""

    device = "bay-1"

    def __init__(self, broker: LocalBroker) -> None:
        self._broker, self._time = broker, VirtualClock()
        self.sink = KeepingSink()
        self._count = -1
        self.restart()

    @staticmethod
    @asynccontextmanager
    async def built() -> AsyncIterator["ParkingRig"]:
        async with local_broker() as broker:
            yield ParkingRig(broker)

    @property
    def listener(self) -> Listener:
        return self._listener

    def restart(self) -> None:
        profile = as_family(Catalogue().load("bosch-parking-lot-sensor"), ParkingSensorProfile)
        sensor = Sensor(self.device, EUI, profile, {}, 3600)
        broker = Broker(host=self._broker.host, port=self._broker.port)
        self._listener = ChirpStackListener("b", broker, APPLICATION, [sensor], clock=self._time.clock)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._listener.run(self.sink))
        try:
            await self._publish(an_uplink(0, eui=STRANGER), STRANGER)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def say(self) -> None:
        self._count += 1
        await self._time.advance(1)
        before = len(self.sink.items)
        await self._publish(an_uplink(self._count, at_ms=self._time.now_ms()), EUI)
        await self.sink.until(lambda: len(self.sink.items) > before)

    async def repeat(self) -> None:
        await self._publish(an_uplink(self._count, at_ms=self._time.now_ms()), EUI)
        await self._publish(an_uplink(0, eui=STRANGER), STRANGER)

    async def wait(self) -> None:
        await self._time.advance(3 * 3600)

    async def _publish(self, body: bytes, eui: str) -> None:
        """Of a stranger: again and again, until the listener has heard of it, and so of all before it."""
        heard = self._listener.refused["unknown-device"]
        async with (
            asyncio.timeout(PATIENCE_S),
            aiomqtt.Client(self._broker.host, self._broker.port) as client,
        ):
            await client.publish(topic("up", eui), body, qos=1)
            while eui == STRANGER and self._listener.refused["unknown-device"] == heard:
                await asyncio.sleep(0.01)
                await client.publish(topic("up", eui), body, qos=1)


class DoorRig:
    """A simulated door controller, which streams its events."""

    device = "door"

    def __init__(self, controller: SimulatedController, clock: Clock) -> None:
        self._controller, self._clock = controller, clock
        self.sink = KeepingSink()
        self._last = 0
        self.restart()

    @staticmethod
    @asynccontextmanager
    async def built() -> AsyncIterator["DoorRig"]:
        clock = fast_clock(50)
        async with a_controller(a_section(), clock) as controller:
            yield DoorRig(controller, clock)

    @property
    def listener(self) -> Listener:
        return self._listener

    def restart(self) -> None:
        self._listener = the_listener(self._controller.url, self._clock, period_s=5)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with listening(self._listener, self.sink):
            await eventually(lambda: self._controller.delivery.listeners)
            yield

    async def say(self) -> None:
        await self._controller.listen()
        await self._clock.sleep(2)  # its clock has whole seconds
        entry = self._controller.happen("opened", 1)
        assert entry is not None
        self._last = entry.serial
        await self.sink.until(lambda: any(e.data.get("serial") == entry.serial for e in self.sink.events))
        await eventually(lambda: self._listener.states[0].lost_since_ms is None)

    async def repeat(self) -> None:
        [entry] = self._controller.state.log.find(first=self._last, last=self._last)
        self._controller.delivery.send(entry)
        await self._clock.sleep(5)

    async def wait(self) -> None:
        await self._controller.go()
        await self._clock.sleep(30)


STRANGER = "ffffffffffffffff"
RIGS: list[object] = [
    pytest.param(BleRig.built, id="ble", marks=needs_dbus),
    pytest.param(ParkingRig.built, id="parking", marks=needs_mosquitto),
    pytest.param(DoorRig.built, id="doors"),
]


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    make: Callable[[], AbstractAsyncContextManager[Rig]] = request.param
    async with make() as rig:
        yield rig


def of_the_device(rig: Rig) -> list[Item]:
    """What has come of it that is not only told of its loss."""
    return [
        item
        for item in rig.sink.items
        if item.device_id == rig.device and not (isinstance(item, Reading) and item.quality is Quality.BAD)
    ]


def is_lost(rig: Rig) -> bool:
    [state] = rig.listener.states
    assert state.id == rig.device
    return state.lost_since_ms is not None


async def test_what_is_said_arrives_in_order(rig: Rig) -> None:
    async with rig.listening():
        for _ in range(5):
            await rig.say()
    times = [item.measured_ms for item in of_the_device(rig)]
    assert times == sorted(times)
    assert len(set(times)) == 5


async def test_what_is_heard_twice_arrives_once(rig: Rig) -> None:
    async with rig.listening():
        await rig.say()
        said = of_the_device(rig)
        await rig.repeat()
        await rig.repeat()
        await rig.say()
    assert of_the_device(rig)[: len(said)] == said
    assert len(of_the_device(rig)) <= 2 * len(said)


async def test_what_was_heard_before_a_restart_does_not_arrive_again(rig: Rig) -> None:
    async with rig.listening():
        await rig.say()
    said = of_the_device(rig)
    rig.restart()
    async with rig.listening():
        await rig.repeat()
        assert of_the_device(rig) == said
        await rig.say()
        assert len(of_the_device(rig)) > len(said)


async def test_a_silent_device_is_lost_and_heard_again_is_not(rig: Rig) -> None:
    async with rig.listening():
        await rig.say()
        assert not is_lost(rig)
        await rig.wait()
        assert is_lost(rig)
        await rig.say()
        assert not is_lost(rig)


async def test_a_run_may_be_repeated(rig: Rig) -> None:
    for _ in range(3):
        async with rig.listening():
            await rig.say()
    assert len({item.measured_ms for item in of_the_device(rig)}) == 3


async def test_a_command_that_makes_no_sense_is_refused(rig: Rig) -> None:
    async with rig.listening():
        with pytest.raises((CommandRefused, RetryLater)):
            await rig.listener.act(rig.device, "no-such-action", {})
