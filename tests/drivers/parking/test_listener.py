"""Uplinks through a real broker: each is stored once, in order, whatever happens to broker and gateway."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from drivers.contract import CommandRefused
from drivers.parking.broker import MOST_UNACKNOWLEDGED, Broker, BrokerRefused
from drivers.parking.listener import ChirpStackListener
from drivers.parking.sensor import Sensor
from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.parking_sensor import ParkingSensorProfile
from models.reading import GATEWAY, Quality, Reading, Reason
from models.times import Clock
from simulators.parking.broker import LocalBroker, local_broker
from simulators.parking.client import mqtt_client
from tests.support.certificates import WRONG_SERVERS, Authority
from tests.support.chirpstack import (
    APPLICATION,
    EUI,
    a_join,
    an_uplink,
    message,
    topic,
)
from tests.support.clocks import START_MS, VirtualClock, settle
from tests.support.keeping_sink import PATIENCE_S
from tests.support.needs import needs_mosquitto
from tests.support.parking_sink import ParkingSink

pytestmark = needs_mosquitto

BAY, OTHER, OTHER_EUI = "bay-1", "bay-2", "0202020202020202"
BOSCH = as_family(Catalogue().load("bosch-parking-lot-sensor"), ParkingSensorProfile)
HOUR_S = 3600.0

Publish = Callable[..., "asyncio.Future[None]"]  # event, body and EUI


def sensors(period_s: float = HOUR_S) -> list[Sensor]:
    return [Sensor(id_, eui, BOSCH, {}, period_s) for id_, eui in ((BAY, EUI), (OTHER, OTHER_EUI))]


def make_listener(broker: LocalBroker, clock: Clock, **settings: object) -> ChirpStackListener:
    where = Broker(host=broker.host, port=broker.port, **settings)  # type: ignore[arg-type]  # for the tests
    return ChirpStackListener("lora", where, APPLICATION, sensors(), clock=clock)


@asynccontextmanager
async def running(listener: ChirpStackListener, sink: ParkingSink) -> AsyncIterator[None]:
    """The listener at work, once it has its name at the broker."""
    task = asyncio.create_task(listener.run(sink), name="listener")
    try:
        await sink.until(lambda: "parking/@lora/client" in sink.stored)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def network_server(broker: LocalBroker) -> AsyncIterator[Publish]:
    """Publishes as ChirpStack does."""
    async with mqtt_client(broker.host, broker.port) as client:

        def publish(event: str, body: bytes, eui: str = EUI) -> "asyncio.Future[None]":
            return asyncio.ensure_future(client.publish(topic(event, eui), body, qos=1))

        yield publish


@pytest.fixture
async def broker() -> AsyncIterator[LocalBroker]:
    async with local_broker() as started:
        yield started


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def sink() -> ParkingSink:
    return ParkingSink()


async def subscribed(broker: LocalBroker, listener: ChirpStackListener) -> None:
    """Return once the listener takes messages: a session that is known gets what is published from now on."""
    before = listener.refused["unknown-device"]
    async with asyncio.timeout(PATIENCE_S), network_server(broker) as publish:
        while listener.refused["unknown-device"] == before:
            await publish("up", an_uplink(0, eui="ffffffffffffffff"), "ffffffffffffffff")
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> AsyncIterator[tuple[ChirpStackListener, Publish]]:
    """A listener that takes messages, and what publishes them."""
    listener = make_listener(broker, time.clock)
    async with running(listener, sink), network_server(broker) as publish:
        await subscribed(broker, listener)
        yield listener, publish


async def test_an_uplink_becomes_readings_with_the_time_of_the_network_server(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (listener, publish):
        await publish("up", an_uplink(0, "01 ff", port=2, at_ms=START_MS - 5000))
        await sink.until(lambda: bool(sink.told(BAY)))
    readings = {item.point: item for item in sink.items if isinstance(item, Reading)}
    assert {name: reading.value for name, reading in readings.items()} == {
        "occupied": 1.0, "temperature_c": -1.0, "signal_dbm": -36.0,
    }  # fmt: skip
    for reading in readings.values():
        assert (reading.measured_ms, reading.received_ms) == (START_MS - 5000, START_MS)
    [state, other] = listener.states
    assert (state.answered_ms, state.lost_since_ms) == (START_MS, None)
    assert other.answered_ms is None


async def test_what_comes_again_is_stored_once_and_what_comes_late_is_stored_too(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (_, publish):
        for n in (0, 0, 3, 1, 3, 1, 2, 4):
            await publish("up", an_uplink(n, "01" if n % 2 else "00", at_ms=START_MS - 60_000 + 1000 * n))
        await sink.until(lambda: len(sink.told(BAY)) == 5)
    told = [item for item in sink.items if isinstance(item, Reading) and item.point == "occupied"]
    assert [(item.measured_ms - START_MS + 60_000) // 1000 for item in told] == [0, 3, 1, 2, 4]


async def test_joins_status_and_logs_become_events_and_readings_once(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    log = message(level="WARNING", code="UPLINK_F_CNT_RESET", description="Frame-counter reset")
    async with listening(broker, time, sink) as (_, publish):
        for _ in range(2):
            await publish("join", a_join("0000000a"))
            await publish("up", an_uplink(0, address="0000000a"))
            await publish("status", message(id_="s", margin=10, batteryLevel=88.3))
            await publish("log", log)
        await publish("up", an_uplink(0, "00", address="0000000a", id_="after the reset", at_ms=START_MS + 9))
        await sink.until(lambda: sink.told(BAY) == [1.0, 0.0])
    assert sink.kinds(BAY) == ["radio.joined", "radio.log"]
    assert sink.events[0].data == {"dev_addr": "0000000a"}
    assert sink.events[1].data["code"] == "UPLINK_F_CNT_RESET"
    assert sink.told(BAY, "battery_pct") == [88.3]


async def test_a_start_up_is_an_event_with_its_firmware(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (_, publish):
        await publish(
            "up", an_uplink(0, "24030000750300000000000000 1d0203 01".replace(" ", "")[:34], port=3)
        )
        await sink.until(lambda: bool(sink.events))
    [event] = sink.events
    assert (event.kind, event.data["firmware"], event.data["reset_cause"]) == ("sensor.started", "0.29.2", 3)


HOSTILE = [
    b"",
    b"{" * 60_000,
    b'{"fCnt": ' + b"9" * 60_000,
    an_uplink(5)[:-7],
    an_uplink(5, eui=OTHER_EUI),
    message(id_="m", fCnt="5"),
]


async def test_hostile_messages_are_counted_and_told_of_sparingly_and_the_next_good_one_is_taken(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (listener, publish):
        for body in HOSTILE * 3:
            await publish("up", body)
        await publish("up", an_uplink(1, port=200))
        await publish("up", an_uplink(2, "01"))
        await sink.until(lambda: sink.told(BAY) == [1.0])
    assert listener.refused["malformed"] == 3 * (len(HOSTILE) - 1)
    assert listener.refused["foreign-device"] == 3
    told = [(event.kind, event.data["reason"]) for event in sink.events]
    assert told == [("radio.refused", reason) for reason in ("malformed", "foreign-device", "unknown-frame")]


async def test_a_device_that_is_not_configured_is_left_out(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (_, publish):
        await publish("up", an_uplink(0, eui="0303030303030303"), "0303030303030303")
        await publish("up", an_uplink(0, eui=OTHER_EUI), OTHER_EUI)
        await sink.until(lambda: bool(sink.told(OTHER)))
    assert {item.device_id for item in sink.items} == {OTHER}


async def test_after_two_periods_of_silence_a_sensor_is_lost_and_its_bay_has_no_value(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (listener, publish):
        await publish("up", an_uplink(0, "01"))
        await sink.until(lambda: bool(sink.told(BAY)))
        await time.advance(2 * HOUR_S - 1)
        assert sink.told(BAY) == [1.0]
        await time.advance(2)
        assert sink.told(BAY) == [1.0, None]
        assert (listener.states[0].lost_since_ms is not None, listener.states[0].reason) == (
            True,
            Reason.NO_REPLY,
        )
        await time.advance(HOUR_S)
        assert sink.told(BAY) == [1.0, None, None]
        await publish("up", an_uplink(1, "00", at_ms=time.now_ms()))
        await sink.until(lambda: sink.told(BAY)[-1] == 0.0)
        assert listener.states[0].lost_since_ms is None
    silent = next(item for item in sink.items if isinstance(item, Reading) and item.value is None)
    assert (silent.quality, silent.reason) == (Quality.BAD, Reason.NO_REPLY)


@pytest.mark.parametrize("at_ms", [START_MS + 3_600_000, 0, START_MS + 56 * 365 * 86_400_000])
async def test_a_clock_that_cannot_be_right_is_not_believed_and_told_once(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink, at_ms: int
) -> None:
    async with listening(broker, time, sink) as (_, publish):
        for n in range(3):
            await publish("up", an_uplink(n, at_ms=at_ms + 1000 * n))
        await publish("up", an_uplink(3, at_ms=START_MS))
        await sink.until(lambda: len(sink.told(BAY)) == 4)
    times = [item.measured_ms for item in sink.items if isinstance(item, Reading)]
    assert all(START_MS <= at <= START_MS + 4 for at in times)
    assert sink.kinds(GATEWAY) == ["radio.clock_wrong", "radio.clock_right"]


async def test_a_gateway_that_does_not_know_the_time_takes_that_of_the_network_server(
    broker: LocalBroker, sink: ParkingSink
) -> None:
    time = VirtualClock(20_000_000_000)  # provisional, see edge_agent.boots
    async with listening(broker, time, sink) as (_, publish):
        await publish("up", an_uplink(0, at_ms=START_MS))
        await publish("up", an_uplink(1, at_ms=0))
        await sink.until(lambda: len(sink.told(BAY)) == 2)
    told = [(reading.measured_ms, reading.received_ms) for reading in sink.readings(BAY, "occupied")]
    assert told == [(START_MS, 20_000_000_000), (20_000_000_000, 20_000_000_000)]
    assert sink.kinds(GATEWAY) == []


async def test_uplinks_of_one_moment_without_a_time_keep_their_order(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    async with listening(broker, time, sink) as (_, publish):
        for n in range(5):
            await publish("up", an_uplink(n, at_ms=None))
        await publish("up", an_uplink(9, at_ms=None))
        await publish("up", an_uplink(7, at_ms=None))
        await sink.until(lambda: len(sink.told(BAY)) == 7)
    *in_order, late = [
        item.measured_ms for item in sink.items if isinstance(item, Reading) and item.point == "occupied"
    ]
    assert in_order == sorted(set(in_order))
    assert late < in_order[-1]


async def test_a_broker_that_restarts_in_the_middle_of_a_stream_costs_and_doubles_no_uplink(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    listener = make_listener(broker, time.clock)
    total, restarts = 600, (150, 300, 450)

    async def publish_all() -> None:
        n = 0
        while n < total:
            with contextlib.suppress(aiomqtt.MqttError):
                async with network_server(broker) as publish:
                    while n < total:
                        await publish("up", an_uplink(n, at_ms=START_MS - total + n))
                        n += 1
                        if n in restarts:
                            break
                    if n in restarts:
                        await broker.stop()
            if n in restarts:
                await broker.start()

    async with running(listener, sink):
        await subscribed(broker, listener)
        publishing = asyncio.create_task(publish_all())
        while not publishing.done() or len(sink.told(BAY)) < total:
            await asyncio.wait([publishing], timeout=0.02)
            await time.advance(2)  # the pause before the listener tries again
            await settle()
            assert len(sink.told(BAY)) <= total
        await publishing
    measured = [i.measured_ms for i in sink.items if isinstance(i, Reading) and i.point == "occupied"]
    assert measured == list(range(START_MS - total, START_MS))


async def test_what_is_published_while_the_gateway_is_away_waits_for_it(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    listener = make_listener(broker, time.clock)
    async with running(listener, sink):
        await subscribed(broker, listener)
    async with network_server(broker) as publish:
        for n in range(3 * MOST_UNACKNOWLEDGED):
            await publish("up", an_uplink(n, at_ms=START_MS - 1000 + n))
    async with running(make_listener(broker, time.clock), sink):
        await sink.until(lambda: len(sink.told(BAY)) == 3 * MOST_UNACKNOWLEDGED)
    assert (
        len({item.measured_ms for item in sink.items if isinstance(item, Reading)}) == 3 * MOST_UNACKNOWLEDGED
    )


async def test_what_could_not_be_stored_is_not_acknowledged_and_comes_again(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink
) -> None:
    listener = make_listener(broker, time.clock)
    task = asyncio.create_task(listener.run(sink))
    await sink.until(lambda: bool(sink.stored))
    await subscribed(broker, listener)
    sink.refuse = RuntimeError("the disk is on fire")
    async with network_server(broker) as publish:
        for n in range(5):
            await publish("up", an_uplink(n))
    with pytest.raises(RuntimeError, match="on fire"):
        await task
    sink.refuse = None
    async with running(listener, sink):
        await sink.until(lambda: len(sink.told(BAY)) == 5)


async def test_cancelled_at_any_moment_it_ends_and_leaves_nothing(
    broker: LocalBroker, time: VirtualClock
) -> None:
    """While it connects, subscribes or listens. (`asyncio.wait_for` may swallow a cancellation.)"""
    for turns in range(0, 400, 7):
        sink = ParkingSink()
        task = asyncio.create_task(make_listener(broker, time.clock).run(sink))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.cancelled()


async def test_two_gateways_have_two_names_at_the_broker(broker: LocalBroker, time: VirtualClock) -> None:
    mine, theirs = ParkingSink(), ParkingSink()
    one, two = make_listener(broker, time.clock), make_listener(broker, time.clock)
    async with running(one, mine), running(two, theirs), network_server(broker) as publish:
        await subscribed(broker, one)
        await subscribed(broker, two)
        await publish("up", an_uplink(0))
        for sink in (mine, theirs):
            await sink.until(lambda sink=sink: bool(sink.told(BAY)))  # type: ignore[misc]  # bound
    assert mine.stored["parking/@lora/client"] != theirs.stored["parking/@lora/client"]


async def test_a_parking_sensor_takes_no_commands(broker: LocalBroker, time: VirtualClock) -> None:
    with pytest.raises(CommandRefused):
        await make_listener(broker, time.clock).act(BAY, "open", {})


async def test_a_wrong_password_and_a_missing_file_are_told_without_the_password(
    time: VirtualClock, sink: ParkingSink, tmp_path: Path
) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    command = ["mosquitto_passwd", "-c", "-b", str(passwords), "gateway", "right-one"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    secret.write_text("wrong-one\n")
    async with local_broker(options=f"allow_anonymous false\npassword_file {passwords}") as broker:
        listener = make_listener(broker, time.clock, username="gateway", password_file=secret)
        with pytest.raises(BrokerRefused, match="password_file") as refused:
            await listener.run(sink)
        assert "wrong-one" not in f"{refused.value}{refused.value.__cause__!r}"
        with pytest.raises(BrokerRefused, match="cannot be read"):
            await make_listener(broker, time.clock, username="g", password_file=tmp_path / "no").run(sink)
        secret.write_text("right-one\n")
        async with running(listener, sink):
            client = aiomqtt.Client(broker.host, broker.port, username="gateway", password="right-one")
            async with asyncio.timeout(PATIENCE_S), client:
                await publish_until_heard(client, sink)


async def publish_until_heard(client: aiomqtt.Client, sink: ParkingSink) -> None:
    while not sink.told(BAY):
        await client.publish(topic("up"), an_uplink(0), qos=1)
        await asyncio.sleep(0.01)


@asynccontextmanager
async def over_tls(broker: LocalBroker, context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port that speaks TLS before the broker, and what came through it in clear."""
    heard: list[bytes] = []
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, into: list[bytes]) -> None:
        while data := await reader.read(65_536):
            into.append(data)
            writer.write(data)
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(broker.host, broker.port)
        pairs = (carry(reader, far_writer, heard), carry(far_reader, writer, []))
        carrying.update(asyncio.ensure_future(pair) for pair in pairs)

    server = await asyncio.start_server(join, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await asyncio.wait(carrying, timeout=PATIENCE_S) if carrying else None
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)


async def test_with_a_ca_file_the_connection_is_tls(
    broker: LocalBroker, time: VirtualClock, sink: ParkingSink, tmp_path: Path
) -> None:
    authority = Authority.make()
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    async with over_tls(broker, authority.server_context()) as (port, heard):
        where = Broker(host="127.0.0.1", port=port, ca_file=ca_file)
        listener = ChirpStackListener("lora", where, APPLICATION, sensors(), clock=time.clock)
        async with (
            running(listener, sink),
            asyncio.timeout(PATIENCE_S),
            mqtt_client(broker.host, broker.port) as client,
        ):
            await publish_until_heard(client, sink)
        assert b"MQTT" in heard[0]


@pytest.mark.parametrize("wrong", WRONG_SERVERS.values(), ids=WRONG_SERVERS)
async def test_a_broker_that_is_not_proved_to_be_ours_hears_nothing(
    broker: LocalBroker,
    time: VirtualClock,
    tmp_path: Path,
    wrong: Callable[[Authority], ssl.SSLContext],
) -> None:
    authority = Authority.make()
    ca_file, secret = tmp_path / "ca.crt", tmp_path / "secret"
    ca_file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    secret.write_text("for our broker only")
    async with over_tls(broker, wrong(authority)) as (port, heard):
        where = Broker(host="127.0.0.1", port=port, username="g", password_file=secret, ca_file=ca_file)
        listener = ChirpStackListener("lora", where, APPLICATION, sensors(), clock=time.clock)
        async with running(listener, ParkingSink()), asyncio.timeout(PATIENCE_S):
            while listener.gone_since_ms is None:  # noqa: ASYNC110  # it rings no bell
                await asyncio.sleep(0.01)
        assert heard == []
