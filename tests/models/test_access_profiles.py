"""Mistakes in the profiles of doors are found, with their place."""

import pytest

from models.document import DocumentMistakes
from models.profile import load_profile

CONTROLLER = """
profile: a-controller
version: "1"
title: A controller
family: access
verified: false
source: made for this test
codes:
  - {major: 5, minor: 1, kind: door.granted, title: accepted}
  - {major: 5, minor: 0x1b, kind: door.forced, title: forced}
"""
READER = """
profile: a-reader
version: "1"
title: A reader
family: osdp
verified: false
source: made for this test
cards:
  - {name: short, bits: 26, first: 1, last: 24, parity: [{bit: 0, kind: even, first: 1, last: 12}]}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(DocumentMistakes) as caught:
        load_profile(text, "p.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_profile_without_mistakes_is_read() -> None:
    assert load_profile(CONTROLLER, "p.yaml").family == "access"
    assert load_profile(READER, "p.yaml").family == "osdp"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            "  - {major: 5, minor: 27, kind: door.opened, title: twice}", "stands above already", id="twice"
        ),
        pytest.param(
            "  - {major: 5, minor: 6, kind: door.denied, title: why}", "reason: is missing", id="no-reason"
        ),
        pytest.param(
            "  - {major: 5, minor: 6, kind: door.opened, reason: expired, title: why}",
            "does not belong to door.opened",
            id="reason-of-nothing",
        ),
        pytest.param(
            "  - {major: 5, minor: 6, kind: door.unknown, title: x}", "kind", id="kind-of-the-driver"
        ),
        pytest.param("  - {major: 5, minor: 70000, kind: door.opened, title: x}", "minor", id="too-large"),
    ],
)
def test_a_mistake_in_a_code_is_told(line: str, told: str) -> None:
    assert any("codes[2]" in problem and told in problem for problem in mistakes(CONTROLLER + line + "\n"))


def test_what_a_golden_body_must_not_show_has_to_be_in_it() -> None:
    golden = "golden: [{body: '{}', kind: door.forced, data: {}, absent: [secret], source: s}]\n"
    assert any("shows nothing" in problem for problem in mistakes(CONTROLLER + golden))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("{name: same, bits: 26, first: 0, last: 25}", "26 bits stands above", id="same-length"),
        pytest.param("{name: long, bits: 30, first: 1, last: 30}", "no part of 30 bits", id="number-outside"),
        pytest.param(
            "{name: own, bits: 30, first: 1, last: 28, parity: [{bit: 5, kind: odd, first: 1, last: 9}]}",
            "guards itself",
            id="parity-of-itself",
        ),
    ],
)
def test_a_mistake_in_a_format_of_cards_is_told(line: str, told: str) -> None:
    assert any(told in problem for problem in mistakes(f"{READER}  - {line}\n"))
