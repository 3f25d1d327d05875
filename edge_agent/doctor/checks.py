"""All checks, in the order in which people read them."""

from functools import partial

from edge_agent.doctor import buffer, collectors, disk, files, identity, machine, service, time
from edge_agent.doctor.buses import bus, check_name, unknown_buses
from edge_agent.doctor.run import Check
from edge_agent.doctor.scene import Scene


def checks_of(scene: Scene) -> list[Check]:
    """One for each thing that can hang by itself: a collector, a bus, a disk."""
    return [
        Check(("config.file",), files.configuration),
        Check(("files.rights",), files.permissions),
        Check(("agent.running",), service.running),
        Check(("agent.service",), service.service),
        Check(("agent.page",), service.page),
        Check(("clock.set",), time.clock),
        Check(("clock.service",), time.time_service),
        Check(("identity.enrolled",), identity.identity),
        Check(("identity.certificate",), identity.certificate),
        *_collectors(scene),
        *_buses(scene),
        Check(buffer.NAMES, buffer.buffer),
        Check(("disk.space",), disk.space),
        Check(("disk.wear",), disk.wear),
        Check(("disk.filesystem",), disk.file_system),
        Check(("machine.memory",), machine.memory),
        Check(("machine.temperature",), machine.temperature),
        Check(("machine.power",), machine.power),
        Check(("machine.versions",), machine.versions),
    ]


def _collectors(scene: Scene) -> list[Check]:
    found = []
    for enrolled in scene.enrolled():
        name, known = enrolled.name, enrolled.identity
        look = (
            partial(collectors.way, name=name, identity=known)
            if known
            else partial(collectors.no_way, name=name)
        )
        found.append(Check(collectors.NAMES, look, name))
    return found


def _buses(scene: Scene) -> list[Check]:
    if scene.settings is None:
        return [Check(("bus.endpoint",), unknown_buses)]
    return [
        Check((check_name(section), "bus.devices"), partial(bus, section=section), section.id)
        for section in scene.settings.buses
        if len(section.kinds) == 1
    ]
