"""Each shipped profile makes of the bodies of its sources what they say, by the whole way from the wire."""

from collections.abc import Iterator
from importlib.resources import files

import pytest

from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.access import AccessProfile, GoldenBody, OsdpProfile
from models.pseudonym import Pseudonymiser
from models.times import Clock
from tests.support.clocks import VirtualClock
from tests.support.doors import KEY, SECRET_PATH, listening, push_port, the_listener
from tests.support.keeping_sink import KeepingSink
from tests.support.pushes import post

CATALOGUE = Catalogue()
MAKES = {"hikvision-access": "isapi", "isapi-shifted-access": "shifted"}
PROFILES = {name: as_family(CATALOGUE.load(name), AccessProfile) for name in MAKES}


def goldens() -> Iterator[object]:
    for profile in PROFILES.values():
        for number, golden in enumerate(profile.golden):
            yield pytest.param(profile, golden, id=f"{profile.profile} {number}")


@pytest.mark.parametrize(("profile", "golden"), [*goldens()])
async def test_a_golden_body_becomes_its_event(profile: AccessProfile, golden: GoldenBody) -> None:
    # the event is of 13:33:19, and it is a second later now
    time, sink = VirtualClock(1_789_997_600_000), KeepingSink()
    clock: Clock = time.clock
    listener = the_listener(
        "http://127.0.0.1:9", clock, make=MAKES[profile.profile], pushes=True, isapi={"stream": False}
    )
    async with listening(listener, sink):
        assert await post(await push_port(listener), SECRET_PATH, golden.body.encode()) == 200
    [event] = [event for event in sink.events if event.kind.startswith("door.")]
    assert event.kind == golden.kind
    assert golden.data.items() <= event.data.items()
    told = repr(event)
    for text in golden.absent:
        assert text in golden.body
        assert text not in told
    if "history" not in golden.data:
        assert event.measured_ms == 1_789_997_599_000


def test_the_first_golden_body_has_the_pseudonym_of_its_card() -> None:
    assert Pseudonymiser(KEY).card("0008106606").pseudonym == "b3e6205b3f0d67a5c6cbc178ee576c1f"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_shipped_profile_has_golden_bodies_and_names_its_sources(profile: AccessProfile) -> None:
    assert len(profile.golden) >= 3
    assert {golden.kind for golden in profile.golden} >= {"door.forced", "door.unknown"}
    assert profile.source


def test_every_profile_of_the_folder_is_looked_at_here() -> None:
    shipped = {file.name for file in files("firmware_configs").joinpath("profiles", "access").iterdir()}
    assert shipped == {f"{name}.yaml" for name in (*MAKES, "osdp-reader")}


def test_what_the_two_makes_call_forced_differs_by_one() -> None:
    forced = {
        name: [code.minor for code in profile.codes if code.kind == "door.forced"]
        for name, profile in PROFILES.items()
    }
    assert forced == {"hikvision-access": [0x1B], "isapi-shifted-access": [0x1A]}
    assert not PROFILES["isapi-shifted-access"].verified


def test_the_profile_of_readers_has_a_golden_card_for_each_format() -> None:
    profile = CATALOGUE.load("osdp-reader")
    assert isinstance(profile, OsdpProfile)
    assert {golden.format for golden in profile.golden} == {card.name for card in profile.cards}
