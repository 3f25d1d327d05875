"""The profiles of doors: what the codes of a controller mean, and which cards a reader understands."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.profile.parts import Addressing, Profile, Section

Kind = Literal[
    "door.granted", "door.denied", "door.forced", "door.held_open", "door.exit_request", "door.opened",
    "door.closed", "door.unlocked", "door.locked", "door.tamper", "door.tamper_ended", "door.duress",
    "door.fault", "door.fault_ended", "door.other",
]  # fmt: skip
"""What a code can mean; docs/events.md says what each is."""

Reason = Literal[
    "no_right", "outside_hours", "expired", "unknown_credential", "verification_failed", "timeout",
    "too_many_attempts", "anti_passback", "interlock", "first_card_missing", "group_incomplete", "blocked",
    "mode_not_allowed",
]  # fmt: skip
"""Why a door was denied."""

Credential = Literal[
    "card", "face", "fingerprint", "pin", "card_and_pin", "card_and_fingerprint", "card_and_face", "several",
    "remote",
]  # fmt: skip

Number16 = Annotated[int, Field(ge=0, le=0xFFFF)]


class Code(Section):
    """One code of a vendor, and what it means."""

    major: Number16
    minor: Number16
    kind: Kind
    title: str = Field(min_length=1, max_length=80, description="what the vendor calls it")
    reason: Reason | None = Field(default=None, description="of door.denied, and of nothing else")
    credential: Credential | None = Field(default=None, description="what was shown, where the code says it")
    source: str = Field(default="", description="when not the profile's source")
    verified: bool = Field(default=True, description="false: from memory, not checked against a source")


class DoorWords(Section):
    """What the controller calls the commands to a door."""

    open_once: str = "open"
    lock: str = Field(default="close", description="closed for all but those who have a right")
    unlock: str = Field(default="alwaysOpen", description="open for all, until it is locked")


class Isapi(Section):
    """How to talk to the controller."""

    stream: bool = Field(default=True, description="whether it offers alertStream")
    page_size: int = Field(default=30, ge=1, le=1000, description="events in one page of its log")
    reply_timeout_s: float = Field(default=10.0, ge=0.1, le=120)
    heartbeat_limit_s: float = Field(
        default=60.0, ge=1, le=3600, description="a stream that is silent for longer is opened anew"
    )
    history_after_s: float = Field(
        default=300.0, ge=1, le=86_400, description="an event that is older when it arrives is history"
    )
    clock_tolerance_s: float = Field(
        default=30.0, ge=1, le=3600, description="a clock that is off by more is reported and corrected for"
    )
    words: DoorWords = DoorWords()
    source: str = Field(default="", description="when not the profile's source")
    verified: bool = Field(default=True, description="false: from memory, not checked against a source")


class GoldenBody(Section):
    """The body of one event, JSON or XML, as its source has it, and what it says."""

    body: str
    kind: str
    data: dict[str, Any] = Field(description="what the event must carry, and its exact values")
    absent: tuple[str, ...] = Field(default=(), description="texts of the body that may be nowhere in it")
    source: str = Field(min_length=1)


class AccessProfile(Profile):
    """One model of door controller that tells its events by HTTP."""

    buses: ClassVar = ("door_controller",)
    addressing: ClassVar = Addressing("nothing")

    family: Literal["access"] = Field(description="the driver that talks to it")
    isapi: Isapi = Isapi()
    codes: tuple[Code, ...] = Field(min_length=1, description="what is not here becomes door.unknown")
    golden: tuple[GoldenBody, ...] = Field(default=(), description="bodies with the events they carry")

    def code(self, major: int, minor: int) -> Code | None:
        """What a code means; None when this vendor's list does not have it."""
        for code in self.codes:
            if (code.major, code.minor) == (major, minor):
                return code
        return None


class Parity(Section):
    """One parity bit and the bits that it guards, both ends included; bit 0 is sent first."""

    bit: int = Field(ge=0, le=255)
    kind: Literal["even", "odd"]
    first: int = Field(ge=0, le=255)
    last: int = Field(ge=0, le=255)


class CardFormat(Section):
    """How the bits of a card are laid out. Its number is all of `first` to `last`, facility included."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=20)
    bits: int = Field(ge=8, le=256)
    first: int = Field(ge=0, le=255)
    last: int = Field(ge=0, le=255)
    parity: tuple[Parity, ...] = ()
    source: str = Field(default="", description="when not the profile's source")
    verified: bool = Field(default=True, description="false: from memory, not checked against a source")


class GoldenCard(Section):
    """The bits of a card as a reader sends them, and the number that is printed on it."""

    bits: int = Field(ge=1, le=256)
    data: str = Field(pattern=r"^([0-9a-f]{2})+$", description="hex, the first bit highest")
    format: str
    number: str | None = Field(description="decimal; null: the parity is wrong")
    source: str = Field(min_length=1)


class OsdpProfile(Profile):
    """One model of door reader on an OSDP line."""

    buses: ClassVar = ("osdp",)
    addressing: ClassVar = Addressing(
        "unit", units=(range(127),), told="0 to 126, as it is set at the reader", key="allowed"
    )

    family: Literal["osdp"] = Field(description="the driver that talks to it")
    cards: tuple[CardFormat, ...] = Field(min_length=1, description="the formats of cards, told by length")
    golden: tuple[GoldenCard, ...] = Field(default=(), description="bits with the numbers they carry")

    def card(self, bits: int) -> CardFormat | None:
        """The format of that many bits."""
        for card in self.cards:
            if card.bits == bits:
                return card
        return None
