"""Hundreds of devices come from one CSV file, as spreadsheets write it, and every mistake has its line."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Config, load_config
from edge_agent.config.device_list import COLUMNS, devices_in
from models.document import DocumentMistakes

CONFIG = """\
buses:
  - {id: rack, modbus_tcp: {host: 127.0.0.1}}
  - {id: roof, modbus_tcp: {host: 192.0.2.7}}
devices:
  - {id: main, bus: rack, unit: 247, profile: eastron-sdm630, period_s: 60}
devices_csv: devices.csv
"""

HEAD = "id,name,bus,unit,profile,period_s,parameters.ct\n"
GOOD = (
    HEAD
    + "m-1,一号楼,rack,1,eastron-sdm630,60,\nm-2,,rack,2,acrel-adl3000,10.5,20\nm-3,x,roof,1,xy-md02,300,\n"
)


def loaded(folder: Path, text: str | bytes, config: str = CONFIG) -> Config:
    (folder / "gateway.yaml").write_text(config, "utf-8")
    (folder / "devices.csv").write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return load_config(folder / "gateway.yaml")


def mistakes(folder: Path, text: str | bytes, config: str = CONFIG) -> list[str]:
    with pytest.raises(DocumentMistakes) as caught:
        loaded(folder, text, config)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_three_hundred_devices_take_one_line_each(tmp_path: Path) -> None:
    rows = [
        f"m-{n:03},Zähler {n},{'rack' if n <= 150 else 'roof'},{1 + (n - 1) % 150},eastron-sdm630,60,\n"
        for n in range(1, 301)
    ]
    config = loaded(tmp_path, HEAD + "".join(rows))
    devices = config.settings.devices
    assert [device.id for device in devices] == ["main", *(f"m-{n:03}" for n in range(1, 301))]
    assert (devices[300].bus, devices[300].unit, devices[300].name) == ("roof", 150, "Zähler 300")
    assert len(config.profiles) == 1


def test_an_empty_field_counts_as_not_given(tmp_path: Path) -> None:
    [_, first, second, third] = loaded(tmp_path, GOOD).settings.devices
    assert (first.name, first.unit, first.period_s, first.parameters) == ("一号楼", 1, 60, {})
    assert (second.name, second.period_s, second.parameters) == ("", 10.5, {"ct": 20})
    assert (third.key_file, third.address, third.zone) == (None, None, None)


QUOTED = GOOD.replace("一号楼", '"Haus 1, Keller ""links"""').replace(",x,", ',"two\nlines",')


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD.encode("utf-8-sig"), id="the mark of Windows at its beginning"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(GOOD.replace("\n", "\r"), id="line ends of old Macs"),
        pytest.param(GOOD.removesuffix("\n"), id="no end of the last line"),
        pytest.param(GOOD.replace("\n", ",,\n"), id="empty columns behind the last"),
        pytest.param(GOOD + ",,,,,,\n\n", id="empty lines at the end"),
        pytest.param(GOOD.replace(",", " , "), id="spaces around the fields"),
        pytest.param(GOOD.replace("rack,1,", "rack,1.0,"), id="whole numbers with a point"),
        pytest.param(QUOTED, id="quotes"),
    ],
)
def test_a_file_is_read_as_spreadsheets_write_it(tmp_path: Path, text: str | bytes) -> None:
    devices = loaded(tmp_path, text).settings.devices[1:]
    assert [(one.id, one.unit, one.period_s) for one in devices] == [
        ("m-1", 1, 60),
        ("m-2", 2, 10.5),
        ("m-3", 1, 300),
    ]


def test_text_in_quotes_is_taken_as_it_stands(tmp_path: Path) -> None:
    devices = loaded(tmp_path, QUOTED).settings.devices
    assert [device.name for device in devices[1:]] == ['Haus 1, Keller "links"', "", "two\nlines"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("m-1,,rack,1,eastron-sdm630,sixty,", "m-1.period_s: must be a valid number (how often it is read"),
        ("m-1,,rack,1,eastron-sdm630,,", "m-1.period_s: is missing (how often it is read"),
        (
            "m-1,,rack,1,eastron-sdm630,0.5,",
            "m-1.period_s: must be greater than or equal to 1 (allowed: from 1 up to",
        ),
        ("m-1,,rack,1,eastron-sdm630,nan,", "m-1.period_s: must be a valid number"),
        ("m-1,,rack,1,eastron-sdm630,1_000,", "m-1.period_s: must be a valid number"),
        (
            "m-1,,rack,1,eastron-sdm630,\uff16\uff10,",
            "m-1.period_s: must be a valid number",
        ),
        (
            "m-1,,rack,1.5,eastron-sdm630,60,",
            "m-1.unit: must be a valid integer",
        ),
        (
            "m-1,,rack,0x10,eastron-sdm630,60,",
            "m-1.unit: must be a valid integer (its unit id (slave address)",
        ),
        (
            "m-1,,rack,300,eastron-sdm630,60,",
            "m-1.unit: must be less than or equal to 255 (allowed: from 0 up",
        ),
        (",,rack,1,eastron-sdm630,60,", "device.id: is missing (never change it: the collector knows"),
        ("m-1,,rack,1,acrel-adl3000,60,abc", "m-1.parameters.ct: must be a valid number"),
        ("m-1,,rack,1,acrel-adl3000,60,0", "m-1.parameters.ct: must be a number above 0, up to 1000000"),
        (
            "m-1,,rack,1,eastron-sdm630,60,20",
            "m-1.parameters.ct: profile eastron-sdm630 has no parameter 'ct'",
        ),
        ("m-1,,rock,1,eastron-sdm630,60,", "m-1.bus: no bus 'rock' (did you mean 'rack'?)"),
        (
            "m-1,,rack,1,eastron-sdm63,60,",
            "m-1.profile: no profile 'eastron-sdm63' (did you mean 'eastron-sdm630'?)",
        ),
        ("m-1,,rack,250,eastron-sdm630,60,", "m-1.unit: 250 is reserved (1 to 247; 255 for a TCP device"),
        ("m-1,,rack,247,eastron-sdm630,60,", "m-1.unit: unit 247 of bus 'rack' is device 'main' already"),
        ("m-1,,rack,3,cjt188-water,60,", "m-1.bus: 'rack' is a modbus_tcp, but cjt188-water is read over"),
        ("main,,rack,1,eastron-sdm630,60,", "main.id: 'main' is the id of another one above (each id once)"),
        ("m 1,,rack,1,eastron-sdm630,60,", "m 1.id: has a space or a control character (use letters"),
        ("@m,,rack,1,eastron-sdm630,60,", "@m.id: ids that begin with @ are reserved for the gateway"),
        (
            "m-1,a,b,rack,1,eastron-sdm630,60,20",
            "has more fields than there are columns (put a field with a comma",
        ),
        (
            'm-1,"a"b,rack,1,eastron-sdm630,60,',
            "',' expected after '\"' (a quote is not closed, or text stands",
        ),
    ],
)
def test_a_mistake_is_told_with_file_line_and_device(tmp_path: Path, row: str, told: str) -> None:
    found = mistakes(tmp_path, f"{HEAD}\nm-0,,roof,9,xy-md02,60,\n{row}\n")
    assert any(one.startswith(f"devices.csv:4: {told}") for one in found), found


def test_one_id_twice_is_told_at_the_second_line(tmp_path: Path) -> None:
    [found] = mistakes(tmp_path, GOOD.replace("m-3", "m-1"))
    assert found == "devices.csv:4: m-1.id: 'm-1' is the id of another one above (each id once)"


def test_a_line_is_that_where_the_row_begins(tmp_path: Path) -> None:
    text = HEAD + '\nm-1,"one\ntwo",rack,1,eastron-sdm630,60,\n\nm-2,"a\nb\nc",rack,x,eastron-sdm630,60,\n'
    [found] = mistakes(tmp_path, text)
    assert found.startswith("devices.csv:6: m-2.unit: must be a valid integer")


def test_a_quote_that_is_never_closed_is_told_where_it_was_opened(tmp_path: Path) -> None:
    rows = "".join(f"m-{n},,roof,{n},xy-md02,60,\n" for n in range(10, 200))
    [found] = mistakes(tmp_path, HEAD + 'm-1,"Haus 1,rack,1,eastron-sdm630,60,\n' + rows)
    assert found.startswith("devices.csv:2: unexpected end of data (a quote is not closed")


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (
            "id,bus,profile,perid_s",
            [
                "perid_s: unknown column 'perid_s' (did you mean 'period_s'?)",
                "period_s: the column 'period_s' is missing (how often it is read, or should say something)",
            ],
        ),
        (
            "id,bus,profile,period_s,unit,unit",
            ["unit: the column 'unit' stands here twice (remove one of them)"],
        ),
        ("id,bus,,profile,period_s", ["column 3 has no name (have: address, bus, id, key_file, name,"]),
        (
            "id;bus;profile;period_s",
            ['has no commas between its fields (save it as "CSV UTF-8", with commas)'],
        ),
        ("id\tbus\tprofile", ['has no commas between its fields (save it as "CSV UTF-8", with commas)']),
        ("", ["is empty (its first line names the columns: id, name, bus,"]),
    ],
)
def test_a_mistake_in_the_columns_is_told_once(tmp_path: Path, head: str, told: list[str]) -> None:
    found = mistakes(tmp_path, f"{head}\nm-1,rack,eastron-sdm630,60\n" * bool(head))
    assert len(found) == len(told)
    for one, start in zip(found, told, strict=True):
        assert one.startswith(f"devices.csv:1: {start}")


def test_chinese_text_in_another_coding_is_told_with_its_line(tmp_path: Path) -> None:
    [found] = mistakes(tmp_path, GOOD.replace("x", "二号楼").encode("gbk"))
    assert found == 'devices.csv:2: is not UTF-8 text (save it as "CSV UTF-8")'


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path: Path) -> None:
    config = CONFIG.replace("devices.csv", "nowhere.csv")
    [found] = mistakes(tmp_path, "", config)
    assert found == "nowhere.csv:1: No such file or directory (correct devices_csv)"
    [found] = mistakes(tmp_path, HEAD + "x" * 4_000_000)
    assert found == "devices.csv:1: is larger than 4 MB"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + "".join(f"m-{n},,rack,x,eastron-sdm630,0,\n" for n in range(50))
    assert len(mistakes(tmp_path, text)) == 100


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.lists(FIELD, max_size=10), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_spreadsheet_holds_is_read_or_told_and_no_line_is_wrong(
    rows: list[list[str]], end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerows([COLUMNS, *rows])
    total = 1 + text.getvalue().count("\n") + text.getvalue().count("\r")
    told = devices_of(text.getvalue().encode())
    assert all(1 <= line <= total for line in told)


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_told_and_never_tripped_over(content: bytes) -> None:
    devices_of(b"id,bus,profile,period_s\n" + content)


def devices_of(content: bytes) -> list[int]:
    """The lines of what was found, or of what was told to be wrong."""
    try:
        return [line for line, _ in devices_in(content, "devices.csv")]
    except DocumentMistakes as err:
        return [problem.line for problem in err.problems]
