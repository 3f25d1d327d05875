"""The way to a collector by a broker: a real Mosquitto, killed, and with nobody behind it."""

import asyncio
from pathlib import Path

from edge_agent.doctor import collectors
from edge_agent.doctor.finding import Finding
from edge_agent.doctor.scene import Scene
from tests.support.collector import StandingClock
from tests.support.gateways import Machine, scene, states
from tests.support.running import real_now_ms
from tests.support.ways import Way, a_way


async def looked(gateway: Scene, way: Way) -> list[Finding]:
    look = collectors.way
    return await asyncio.to_thread(lambda: list(look(gateway, name="main", identity=way.identity)))


async def test_each_step_to_the_broker_and_the_collector_behind_it_is_told(tmp_path: Path) -> None:
    async with a_way("mqtt", tmp_path, StandingClock(real_now_ms()).clock) as way:
        assert way.broker is not None
        machine = Machine(tmp_path / "machine", now_ms=way.now_ms)
        settings = {"main": {"carrier": "mqtt", "broker": way.broker.url}}
        gateway = scene(tmp_path, machine, collectors=settings)
        well = await looked(gateway, way)
        assert states(well) == {**dict.fromkeys(collectors.NAMES, "ok"), "collector.proxy": "skipped"}, well
        assert str(way.broker.port) in well[2].seen
        await way.stop_collector()
        alone = await looked(gateway, way)
        assert (states(alone)["collector.tls"], states(alone)["collector.answer"]) == ("ok", "problem")
        await way.broker.kill()
        dead = await looked(gateway, way)
        assert states(dead)["collector.tcp"] == "problem"
