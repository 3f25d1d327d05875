import traceback
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from models import document
from models.document import DocumentMistakes, Mistake, load_document, parse_document
from models.document_hints import suggest


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tcp(Section):
    kind: Literal["tcp"]
    host: str
    port: int = Field(default=502, ge=1, le=65535)


class Serial(Section):
    kind: Literal["serial"]
    device: str = Field(description="such as /dev/ttyUSB0")


class Device(Section):
    id: str
    unit: int = Field(default=1, ge=0, le=247)
    period_s: float = Field(default=60, gt=0)
    table: Literal["coil", "discrete", "holding", "input"] = "holding"
    code: str | None = None
    parameters: dict[str, float] = {}
    via: Annotated[Tcp | Serial, Field(discriminator="kind")] | None = None


class Mail(Section):
    user: str = "gatehouse"
    password: SecretStr | None = None

    @field_validator("password")
    @classmethod
    def long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 12:
            raise ValueError(f"{value.get_secret_value()} is too short")  # what no validator should say
        return value


class Config(Section):
    devices: list[Device] = []
    mail: Mail = Mail()
    backups: list[Mail] = Field(default=[], max_length=3)


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds for the parser in C and for the one that takes its place where there is none."""
    if request.param == "python":
        monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(DocumentMistakes) as caught:
        load_document(text, Config, file="gateway.yaml")
    return str(caught.value).split("\n")


def test_a_right_document_becomes_its_model() -> None:
    text = "devices:\n  - {id: meter-01, unit: 0x0F, period_s: 15, parameters: {ct: 20}}\n"
    [device] = load_document(text, Config, file="x").devices
    assert (device.id, device.unit, device.period_s, device.parameters) == (
        "meter-01",
        15,
        15.0,
        {"ct": 20.0},
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("01000", "01000"),
        ("1000", 1000),
        ("0x64", 100),
        ("0o17", 15),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"1号楼"', "1号楼"),
        ("9" * 41, "9" * 41),
        ("1_000", "1_000"),
    ],
)
def test_plain_values_are_what_they_look_like(text: str, value: object) -> None:
    assert parse_document(f"a: {text}", file="x").data == {"a": value}


def test_all_mistakes_are_told_at_once_each_with_its_line_and_a_hint() -> None:
    text = (
        "devices:\n"
        "  - id: meter-01\n"
        "    unit: 300\n"
        "    tabel: input\n"
        "  - {id: meter-02, table: holdign, period_s: 0}\n"
        "  - {unit: one}\n"
        "mail: 5\n"
    )
    assert mistakes(text) == [
        "gateway.yaml:3: devices[meter-01].unit: must be less than or equal to 247"
        " (allowed: from 0 up to 247)",
        "gateway.yaml:4: devices[meter-01].tabel: unknown key 'tabel' (did you mean 'table'?)",
        "gateway.yaml:5: devices[meter-02].period_s: must be greater than 0 (allowed: above 0)",
        "gateway.yaml:5: devices[meter-02].table: 'holdign' is not known here (did you mean 'holding'?)",
        "gateway.yaml:6: devices[2].id: is missing",
        "gateway.yaml:6: devices[2].unit: must be a valid integer",
        "gateway.yaml:7: mail: must be a mapping (write `key: value` lines below it, indented)",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "devices: [{id: 5}]", 'devices[0].id: must be text (put it in quotes: "…")', id="number for text"
        ),
        pytest.param(
            'devices: [{id: a, unit: "5"}]',
            "devices[a].unit: must be a valid integer (write the number without quotes)",
            id="text for number",
        ),
        pytest.param(
            "devices: {id: a}",
            "devices: must be a list (write it as [a, b] or as lines that begin with `-`)",
            id="mapping for list",
        ),
        pytest.param(
            "devices: [{id: a, via: {kind: serail, device: x}}]",
            "devices[a].via: 'serail' is not known here (did you mean 'serial'?)",
            id="kind of a union",
        ),
        pytest.param(
            "devices: [{id: a, via: {kind: serial}}]",
            "devices[a].via.device: is missing (such as /dev/ttyUSB0)",
            id="missing in a member of a union",
        ),
        pytest.param(
            "devices: [{id: a, via: {kind: tcp, host: h, prot: 502}}]",
            "devices[a].via.prot: unknown key 'prot' (did you mean 'port'?)",
            id="unknown in a member of a union",
        ),
        pytest.param(
            "devices: [{id: a, parameters: {ct: high}}]",
            "devices[a].parameters.ct: must be a valid number",
            id="value of a mapping",
        ),
        pytest.param(
            "devices: [{id: a, zzz: 1}]",
            "devices[a].zzz: unknown key 'zzz' (have: code, parameters, period_s, table, unit, via)",
            id="unknown and near to nothing",
        ),
    ],
)
def test_a_mistake_says_what_to_write_instead(text: str, told: str) -> None:
    assert mistakes(text) == [f"gateway.yaml:1: {told}"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "1: is empty", id="empty"),
        pytest.param("# just a comment\n", "1: is empty", id="comment"),
        pytest.param("~", "1: is empty", id="null"),
        pytest.param(b"mail: {}\n# \xff\n", "2: is not UTF-8 text (save the file as UTF-8)", id="not UTF-8"),
        pytest.param(
            "a: \ud800", "1: has half a character (a lone surrogate) (save the file as UTF-8)", id="half"
        ),
        pytest.param(
            "mail: {}\nmail: {}", "2: mail: key 'mail' stands here twice, first on line 1", id="twice"
        ),
        pytest.param("devices: &d []\n", "1: devices: anchors (&) are not supported", id="anchor"),
        pytest.param("mail: !!python/object:os.system {}", "1: mail: tags (!) are not supported", id="tag"),
        pytest.param("mail: {}\n---\nmail: {}", "2: has a second document (remove the line `---`)", id="two"),
        pytest.param("? [a]\n: b", "1: a key must be plain text", id="key"),
        pytest.param("[" * 200, "is nested more than 40 deep", id="deep"),
        pytest.param("a: [", "1: ", id="not closed"),
        pytest.param("a: 'b", "1: ", id="quote not closed"),
        pytest.param("mail:\n\tuser: x", "2: ", id="tab"),
        pytest.param("a: b: c", "(a value with a colon needs quotes; or the indent is wrong)", id="colon"),
        pytest.param("a: \x00", "1: has a character that YAML does not allow", id="control character"),
        pytest.param("- a", "1: must be a mapping", id="list"),
        pytest.param("just text", "1: must be a mapping", id="text"),
        pytest.param("%YAML 9.9\n---\na: b", "gateway.yaml:1: ", id="directive"),
        pytest.param("@", "1: ", id="reserved"),
    ],
)
def test_what_is_no_document_is_told_and_never_a_traceback(text: str | bytes, told: str) -> None:
    first = mistakes(text)[0]
    assert first.startswith("gateway.yaml:")
    assert told in first


def test_a_tab_in_the_indent_is_named() -> None:
    assert "indent with spaces, not tabs" in mistakes("mail:\n\tuser: x")[0]


def test_an_alias_is_refused_wherever_it_points() -> None:
    assert mistakes("mail: &m {user: x}\nbackups: [*m]") == [
        "gateway.yaml:1: mail: anchors (&) are not supported (write the value out)",
        "gateway.yaml:2: backups[0]: aliases (*) are not supported (write the value out)",
    ]


def test_a_bomb_of_aliases_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "aliases (*) are not supported" in "\n".join(mistakes("\n".join(lines)))


def test_a_file_that_is_too_large_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 1_000_000)
    assert mistakes("#" * 1_000_001) == ["gateway.yaml:1: is larger than 1 MB"]


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert load_document("\ufeffmail: {user: x}".encode(), Config, file="x").mail.user == "x"


def test_a_key_given_twice_does_not_hide_the_other_mistakes() -> None:
    told = mistakes("mail: {user: a, user: b}\ndevices: [{unit: 1}]")
    assert [line.split(": ")[1] for line in told] == ["mail.user", "devices[0].id"]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"mail: {{password: {SECRET}}}",
        f"mail: {{password: [{SECRET}]}}",
        f"mail: {{password: {{a: {SECRET}}}}}",
        f"mail: {{pasword: {SECRET}}}",
        f"mail: {{user: x, password {SECRET}}}",
        f"mail: {{password: *{SECRET}}}",
        f"mail: {{password: &{SECRET} x}}",
        f"mail: {{password: !{SECRET} x}}",
        f"mail: {{password: '{SECRET}}}",
        f'mail: {{password: "{SECRET}\\q"}}',
        f"mail: {{password: {SECRET}: x}}",
        f"mail: {SECRET}",
        f"backups: [{{password: {SECRET}}}, {{password: {SECRET}}}]",
    ],
)
def test_a_secret_is_in_no_message_and_in_no_cause(text: str) -> None:
    with pytest.raises(DocumentMistakes) as caught:
        load_document(text, Config, file="x")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert SECRET not in shown.replace(repr(text), "")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_check_of_the_whole_points_to_lines_too() -> None:
    def no_twins(config: Config) -> Iterator[Mistake]:
        seen = set()
        for index, device in enumerate(config.devices):
            if device.id in seen:
                yield Mistake(("devices", index, "id"), f"'{device.id}' is taken", "choose another")
            seen.add(device.id)
            if device.unit == 7:
                yield Mistake(("devices", index, "unit"), "unit 7 is not ours")

    text = "devices:\n  - {id: a}\n  - id: a\n    unit: 7\n"
    with pytest.raises(DocumentMistakes) as caught:
        load_document(text, Config, file="f", check=no_twins)
    assert str(caught.value).split("\n") == [
        "f:3: devices[a].id: 'a' is taken (choose another)",
        "f:4: devices[a].unit: unit 7 is not ours",
    ]
    with pytest.raises(DocumentMistakes, match=r"f:2: devices\[a\].unit: unit 7 is not ours"):
        # A default has no line of its own: its parent's is told.
        load_document("devices:\n  - {id: a}", Config, file="f", check=lambda c: [
            Mistake(("devices", 0, "unit"), "unit 7 is not ours")
        ])  # fmt: skip


def test_the_nearest_word_is_suggested_whatever_its_case() -> None:
    assert suggest("KWH", ["kWh", "Wh", "V"]) == "did you mean 'kWh'?"
    assert suggest("zzz", ["b", "a"]) == "have: a, b"
    assert suggest("zzz", []) == ""


ODD = "a:-[]{}&*!'\"\n\t #|>?%@"


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(st.text(max_size=80), st.binary(max_size=60), st.text(ODD, max_size=60)))
def test_any_text_is_a_document_or_has_mistakes(text: str | bytes) -> None:
    problems = []
    try:
        load_document(text, Config, file="x")
    except DocumentMistakes as err:
        problems = err.problems
    lines = len(text.split("\n" if isinstance(text, str) else b"\n"))  # type: ignore[arg-type]  # of its kind
    assert all(1 <= problem.line <= lines + 1 and problem.what for problem in problems)


def plain() -> st.SearchStrategy[Any]:
    leaf = st.one_of(st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.text(max_size=8))
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    )


@settings(max_examples=200, deadline=None)
@given(data=st.dictionaries(st.text(max_size=5), plain(), min_size=1, max_size=4), flow=st.booleans())
def test_quoted_yaml_of_any_writer_is_read_back(data: dict[str, Any], flow: bool) -> None:
    text = yaml.dump(_quoted(data), Dumper=_Dumper, default_flow_style=flow, allow_unicode=True)
    assert parse_document(text, file="x").data == data


class _Text(str):
    """Text that is written in double quotes."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    _Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, '"')
)


def _quoted(data: Any) -> Any:
    if isinstance(data, str):
        return _Text(data)
    if isinstance(data, list):
        return [_quoted(item) for item in data]
    if isinstance(data, dict):
        return {_Text(key): _quoted(value) for key, value in data.items()}
    return data
