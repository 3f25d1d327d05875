"""A configuration is checked as a whole, and every mistake says where it is and what would be right."""

from pathlib import Path

import pytest

from edge_agent.config import Config, DocumentMistakes, load_config
from edge_agent.config.sections import BUS_KINDS

GOOD = """\
gateway: {state_dir: state}
health: {host: 127.0.0.1, port: 9464}
buffer: {retention_days: 30}
uplink: {live_every_s: 10, max_items: 5000}
buses:
  - {id: rack, modbus_tcp: {host: 127.0.0.1, port: 5020}}
  - {id: roof, modbus_tcp: {host: 192.0.2.7}}
devices:
  - {id: meter-01, name: "1号楼总表", bus: rack, unit: 1, profile: eastron-sdm630, period_s: 60}
  - {id: meter-02, bus: rack, unit: 2, profile: acrel-adl3000, period_s: 1, parameters: {ct: 20}}
  - {id: 水表, bus: roof, unit: 255, profile: eastron-sdm630, period_s: 2.5}
"""


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return load_config(path)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(DocumentMistakes) as found:
        loaded(tmp_path, text)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in found.value.problems]


def test_a_good_file_gives_devices_with_their_profiles(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD)
    assert sorted(config.profiles) == ["acrel-adl3000", "eastron-sdm630"]
    assert config.state_dir == tmp_path / "state"
    described = config.description_of(config.settings.devices[0])
    assert (described.device_id, described.name, described.period_s) == ("meter-01", "1号楼总表", 60)
    assert config.description_of(config.settings.devices[1]).name == "meter-02"


def test_the_commented_sample_is_a_good_file() -> None:
    config = load_config(Path(__file__).parents[3] / "firmware_configs" / "gateway.yaml")
    assert config.settings.model_copy(update={"buses": (), "devices": ()}) == type(config.settings)()
    assert [device.id for device in config.settings.devices] == ["meter-01"]


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            "id: meter-02",
            "id: meter-01",
            "gateway.yaml:10: devices[meter-01].id: 'meter-01' is the id of another",
        ),
        ("id: roof", "id: rack", "gateway.yaml:7: buses[rack].id: 'rack' is the id of another one above"),
        ("bus: roof", "bus: rof", "gateway.yaml:11: devices[水表].bus: no bus 'rof' (did you mean 'roof'?)"),
        ("acrel-adl3000", "acrel-adl300", "no profile 'acrel-adl300' (did you mean 'acrel-adl3000'?)"),
        ("unit: 2,", "unit: 1,", "devices[meter-02].unit: unit 1 of bus 'rack' is device 'meter-01' already"),
        ("unit: 2,", "unit: 0,", "devices[meter-02].unit: 0 is reserved (1 to 247; 255 for"),
        ("unit: 2,", "unit: 256,", "(allowed: from 0 up to 255)"),
        ("unit: 255", "unit: 250", "devices[水表].unit: 250 is reserved (1 to 247; 255 for"),
        ("period_s: 1,", "period_s: 0.5,", "devices[meter-02].period_s: must be greater than or equal to 1"),
        (
            "{ct: 20}",
            "{tc: 20}",
            "devices[meter-02].parameters.tc: profile acrel-adl3000 has no parameter 'tc'",
        ),
        ("{ct: 20}", "{ct: 0}", "devices[meter-02].parameters.ct: must be a number above 0"),
        ("id: meter-02", "id: '@meter'", "devices[@meter].id: ids that begin with @ are reserved"),
        ("id: meter-02", "id: 'meter 02'", "has a space or a control character"),
        (
            "host: 192.0.2.7",
            "host: 127.0.0.1, port: 5020",
            "buses[roof].modbus_tcp: is the same endpoint as bus",
        ),
        ("host: 127.0.0.1, port: 9464", "host: 0.0.0.0", "health.host: '0.0.0.0' is no loopback address"),
        ("state_dir", "statedir", "gateway.yaml:1: gateway.statedir: unknown key 'statedir' (did you mean"),
        ("max_items: 5000", "max_items: 0", "gateway.yaml:4: uplink.max_items"),
        ("retention_days: 30", "max_mb: 1", "gateway.yaml:3: buffer.max_mb"),
        ("{state_dir: state}", "{profiles_dir: mine}", "gateway.yaml:1: gateway.profiles_dir"),
        (
            "period_s: 60",
            "period: 60",
            "devices[meter-01].period_s: is missing (how often it is read, or should say something)",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_a_hint(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    assert wrong in GOOD
    found = mistakes(tmp_path, GOOD.replace(wrong, right, 1))
    assert any(said in one for one in found), found


def test_without_a_word_about_collectors_there_is_one(tmp_path: Path) -> None:
    [main] = loaded(tmp_path, GOOD).collectors
    assert (main.name, main.carrier, main.live_every_s, main.max_items) == ("main", "https", 10, 5000)


def test_a_collector_is_as_all_are_but_where_it_says_otherwise(tmp_path: Path) -> None:
    [one] = loaded(tmp_path, GOOD + "collectors: {county: {live_every_s: 60}}\n").collectors
    assert (one.name, one.carrier, one.live_every_s, one.max_items) == ("county", "https", 60, 5000)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{a/b: {}}", "gateway.yaml:12: collectors.a/b: is no name for a collector"),
        ("{main: {carrier: post}}", "gateway.yaml:12: collectors.main.carrier"),
        ("{main: {proxy: 'http://me:secret@proxy:1'}}", "collectors.main.proxy: is no address of a proxy"),
        ("{main: {proxy: 'socks5://proxy:1'}}", "collectors.main.proxy: is no address of a proxy"),
        ("{main: {proxy_login_file: a}}", "collectors.main.proxy_login_file: is for no proxy"),
        ("{main: {every_s: 5}}", "gateway.yaml:12: collectors.main.every_s: unknown key"),
    ],
)
def test_a_mistake_in_a_collector_is_named(tmp_path: Path, section: str, said: str) -> None:
    found = mistakes(tmp_path, GOOD + f"collectors: {section}\n")
    assert any(said in one for one in found), found


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace("bus: roof", "bus: rof")
        .replace("acrel-adl3000", "acrel")
        .replace("unit: 255", "unit: 250")
    )
    assert len(mistakes(tmp_path, text)) == 3


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DocumentMistakes, match="edge-agent init makes one"):
        load_config(tmp_path / "gateway.yaml")


def test_own_profiles_go_before_those_that_are_shipped(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    shipped = Path(__file__).parents[3] / "firmware_configs" / "profiles" / "modbus" / "eastron-sdm630.yaml"
    (own / "eastron-sdm630.yaml").write_text(shipped.read_text().replace('version: "1"', 'version: "mine"'))
    config = loaded(tmp_path, GOOD.replace("{state_dir: state}", "{profiles_dir: mine}"))
    assert config.profiles["eastron-sdm630"].version == "mine"
    assert config.profiles["acrel-adl3000"].version != "mine"


def test_a_mistake_in_an_own_profile_is_told_where_it_is_used(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "my-meter.yaml").write_text("profile: my-meter\n")
    text = GOOD.replace("{state_dir: state}", "{profiles_dir: mine}").replace("acrel-adl3000", "my-meter")
    [found] = mistakes(tmp_path, text)
    assert "devices[meter-02].profile: has mistakes" in found
    assert "my-meter.yaml:1" in found


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            "{id: roof, modbus_tcp: {host: 192.0.2.7}}",
            "{id: roof}",
            "buses[roof]: does not say what it is (one of: modbus_tcp, serial, ",
        ),
        (
            "{id: roof, modbus_tcp: {host: 192.0.2.7}}",
            "{id: roof, modbus_tcp: {host: 192.0.2.7}, ble: {}}",
            "buses[roof]: says modbus_tcp and ble (one of",
        ),
        (
            "modbus_tcp: {host: 192.0.2.7}",
            "ble: {}",
            "devices[水表].bus: 'roof' is a ble, but eastron-sdm630 is read over modbus_tcp or serial or",
        ),
        ("unit: 2,", "address: '000000000002',", "devices[meter-02].address: eastron-sdm630 has no address"),
        (
            "unit: 2,",
            "key_file: my.key,",
            "devices[meter-02].key_file: eastron-sdm630 has no key (remove it)",
        ),
        (
            "unit: 2,",
            "unit: 2, report: {voltage_l1: {dead_band: 1}},",
            "devices[meter-02].report.voltage_l1: eastron-sdm630 has no point 'voltage_l1' (did you mean",
        ),
        (
            "unit: 2,",
            "unit: 2, report: {'*': {dead_band: 1, dead_band_pct: 1}},",
            "devices[meter-02].report.*: has both dead_band and dead_band_pct (choose one)",
        ),
        (
            "unit: 2,",
            "unit: 2, report: {'*': {min_interval_s: 1000}},",
            "devices[meter-02].report.*.min_interval_s: is above max_interval_s, 900",
        ),
    ],
)
def test_a_device_that_does_not_fit_its_bus_or_its_profile_is_named(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    assert wrong in GOOD
    found = mistakes(tmp_path, GOOD.replace("acrel-adl3000", "eastron-sdm630").replace(
        ", parameters: {ct: 20}", "").replace(wrong, right, 1))  # fmt: skip
    assert any(said in one for one in found), found


def test_a_serial_line_that_two_buses_use_is_a_mistake(tmp_path: Path) -> None:
    buses = "buses:\n  - {id: a, serial: {port: /dev/ttyUSB0}}\n  - {id: b, osdp: {port: /dev/ttyUSB0}}\n"
    [found] = mistakes(tmp_path, buses)
    assert "gateway.yaml:3: buses[b].osdp: is the same endpoint as bus 'a'" in found


def test_a_reading_of_each_point_is_to_be_expected_as_rarely_as_the_rules_allow(tmp_path: Path) -> None:
    rule = "{'*': {dead_band: 1, max_interval_s: 600}}"
    config = loaded(tmp_path, GOOD.replace("unit: 2,", f"unit: 2, report: {rule},"))
    described = [config.description_of(device).period_s for device in config.settings.devices]
    assert described == [60, 600, 2.5]
    assert list(config.report_rules) == ["meter-02"]


def test_what_the_collector_may_have_done_is_nothing_unless_it_is_written_down(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD).settings.commands.allow == ()
    allowed = loaded(tmp_path, GOOD + "commands: {allow: [doors]}\n").settings.commands.allow
    assert allowed == ("doors",)
    [said] = mistakes(tmp_path, GOOD + "commands: {allow: [door]}\n")
    assert "commands.allow" in said
    assert "doors" in said


def test_the_sample_with_every_kind_of_bus_is_a_good_file() -> None:
    config = load_config(Path(__file__).parents[3] / "firmware_configs" / "gateway-all-buses.yaml")
    assert {bus.kind for bus in config.settings.buses} == set(BUS_KINDS)
    assert {device.bus for device in config.settings.devices} == {bus.id for bus in config.settings.buses}
