"""What a new configuration touches: nothing but what is another than before, and all of that."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buses import LIVING
from edge_agent.catalogue import Catalogue
from edge_agent.changes import Changes, DeviceChanges, find_changes
from edge_agent.config import BusSection, Config, ConfigFile, DeviceSection

_PROFILES = ("eastron-sdm630", "schneider-iem3000", "acrel-adl3000")
_CATALOGUE = Catalogue()
PROFILES = {name: _CATALOGUE.load(name) for name in _PROFILES}

BUSES = ("rack-1", "rack-2", "line", "radio")
wires = {
    "rack-1": st.builds(lambda port: {"modbus_tcp": {"host": "a", "port": port}}, st.integers(1, 2)),
    "rack-2": st.builds(lambda port: {"serial_server": {"host": "b", "port": port}}, st.integers(1, 2)),
    "line": st.builds(
        lambda baud: {"serial": {"port": "/dev/x", "baud": baud}}, st.sampled_from([1200, 9600])
    ),
    "radio": st.builds(lambda adapter: {"ble": {"adapter": adapter}}, st.sampled_from(["hci0", "hci1"])),
}
device_facts = st.fixed_dictionaries(
    {
        "bus": st.sampled_from(BUSES),
        "unit": st.integers(1, 2),
        "profile": st.sampled_from(_PROFILES),
        "period_s": st.sampled_from([10.0, 60.0]),
        "name": st.sampled_from(["", "main"]),
        "report": st.sampled_from([{}, {"*": {"dead_band": 1.0}}]),
    },
    optional={"key_file": st.sampled_from(["a.key", "b.key"])},
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    buses = [{"id": name} | draw(wires[name]) for name in BUSES if draw(st.booleans())]
    names = [f"m-{n}" for n in range(5) if draw(st.booleans())]
    known = {bus["id"] for bus in buses}
    devices = [{"id": name} | draw(device_facts) for name in draw(st.permutations(names))]
    digests = {name: draw(st.sampled_from([b"", b"1", b"2"])) for name in ("a.key", "b.key")}
    settings = ConfigFile(
        buses=tuple(BusSection.model_validate(bus) for bus in buses),
        devices=tuple(DeviceSection.model_validate(each) for each in devices if each["bus"] in known),
        uplink=draw(st.sampled_from([{}, {"live_every_s": 5}])),  # type: ignore[arg-type]  # as YAML has it
    )
    return Config(Path("gateway.yaml"), settings, PROFILES, digests)


def running(config: Config) -> dict[str, tuple[Any, dict[str, Any]]]:
    """What an agent that starts with this configuration is made of: wires, and on each of them drivers."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for bus in config.settings.buses:
        drivers = {d.id: driver(config, d) for d in config.settings.devices if d.bus == bus.id}
        if drivers:
            found[bus.id] = bus, drivers
    return found


def driver(config: Config, device: DeviceSection) -> Any:
    key = None if device.key_file is None else config.digest_beside(device.key_file)
    return device.unit, device.profile, device.period_s, device.key_file, key


def followed(state: dict[str, Any], changes: Changes, new: Config) -> dict[str, Any]:
    """What is running once the changes have been made, and nothing else."""
    target = running(new)
    state = {name: (bus, dict(drivers)) for name, (bus, drivers) in state.items()}
    for name in changes.ended:
        del state[name]
    for name, change in changes.changed.items():
        for device in change.gone:
            del state[name][1][device]
        for device in change.put:
            state[name][1][device] = target[name][1][device]
    for name in changes.begun:
        assert name not in state
        state[name] = target[name]
    return state


@given(configs(), configs())
def test_following_the_changes_gives_what_a_fresh_start_would(old: Config, new: Config) -> None:
    changes = find_changes(old, new, living=LIVING)
    assert followed(running(old), changes, new) == running(new)


@given(configs(), configs())
def test_nothing_is_touched_that_is_as_before(old: Config, new: Config) -> None:
    changes = find_changes(old, new, living=LIVING)
    before, after = running(old), running(new)
    for name in before.keys() & after.keys():
        (old_wire, old_drivers), (new_wire, new_drivers) = before[name], after[name]
        same = {d for d in old_drivers.keys() & new_drivers.keys() if old_drivers[d] == new_drivers[d]}
        if old_wire == new_wire and (name != "radio" or old_drivers == new_drivers):
            assert name not in changes.ended
            change = changes.changed.get(name, DeviceChanges())
            assert not same & {*change.gone, *change.put}


@given(configs())
def test_the_same_configuration_changes_nothing(config: Config) -> None:
    assert find_changes(config, config, living=LIVING).is_nothing


@given(configs(), configs())
def test_the_collector_is_told_of_what_it_does_not_know_and_of_nothing_else(old: Config, new: Config) -> None:
    changes = find_changes(old, new, living=LIVING)
    known = {device.id: old.description_of(device) for device in old.settings.devices}
    now = {device.id: new.description_of(device) for device in new.settings.devices}
    assert {*changes.described} == {name for name in now if known.get(name) != now[name]}
    assert {*changes.added} == now.keys() - known.keys()
    assert {*changes.removed} == known.keys() - now.keys()


def test_what_is_read_at_the_start_only_is_named() -> None:
    old = Config(Path("gateway.yaml"), ConfigFile(), PROFILES)
    new = Config(
        Path("gateway.yaml"),
        ConfigFile.model_validate({"buffer": {"max_mb": 64}, "health": {"port": 0}}),
        PROFILES,
    )
    changes = find_changes(old, new, living=LIVING)
    assert changes.sections == ("health", "buffer")
    assert changes.waits_for_a_start == ("buffer",)
