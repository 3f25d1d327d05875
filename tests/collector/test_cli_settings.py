"""The settings file is checked as a whole, and the one that `init` writes is right."""

from pathlib import Path

import pytest

from collector.settings import FILE, check_settings, load_settings, new_settings_text
from models.document import DocumentMistakes

GOOD = 'url: "https://collector.example:8443"\n'


def mistakes(text: str) -> list[str]:
    with pytest.raises(DocumentMistakes) as refused:
        check_settings(text, Path(FILE))
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize("http_port", [None, 8080])
def test_the_file_of_a_new_collector_can_be_loaded(tmp_path: Path, http_port: int | None) -> None:
    text = new_settings_text("https://c.example:9443", "127.0.0.1", 9443, ["10.0.0.7"], http_port)
    (tmp_path / FILE).write_text(text)
    settings = load_settings(tmp_path)
    assert settings.server_names() == ["c.example", "10.0.0.7"]
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.1", 9443)
    assert (settings.local_http and settings.local_http.port) == http_port
    assert settings.receivers == []


def test_the_commented_examples_in_that_file_are_right(tmp_path: Path) -> None:
    text = new_settings_text("https://c.example:9443", "127.0.0.1", 9443, [], None)
    opened = (
        text.replace("receivers: []", "receivers:")
        .replace("factors: []", "factors:")
        .replace("\n#  - {", "\n  - {")
        .replace("\n#     ", "\n     ")
    )
    settings = check_settings(opened.replace("# local_http", "local_http"), tmp_path / FILE)
    assert [receiver.name for receiver in settings.receivers] == ["duty", "platform"]
    assert [factor.quantity for factor in settings.factors] == ["cost", "co2"]
    assert settings.local_http is not None


def test_an_unknown_key_is_a_mistake_with_line_and_hint() -> None:
    [mistake] = mistakes(GOOD + "lissten: {port: 1}\n")
    assert mistake.startswith("collector.yaml:2")
    assert "listen" in mistake


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("listen: {port: 1}\n", "url"),
        ('url: "http://c.example"\n', "url"),
        (GOOD + "listen: {port: 70000}\n", "port"),
        (GOOD + "detectors: {silent_gateway: {after_minutes: -1}}\n", "after_minutes"),
        (GOOD + "receivers: [{kind: pigeon, name: x}]\n", "receivers"),
    ],
)
def test_a_wrong_value_is_named(text: str, what: str) -> None:
    assert any(what in mistake for mistake in mistakes(text))


def test_two_receivers_cannot_have_one_name() -> None:
    hook = '{kind: webhook, name: x, url: "https://p.example/h", secret: "0123456789abcdef"}'
    [mistake] = mistakes(GOOD + f"receivers:\n  - {hook}\n  - {hook}\n")
    assert mistake.startswith("collector.yaml:4")
    assert "twice" in mistake


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DocumentMistakes, match="collector init"):
        load_settings(tmp_path)
