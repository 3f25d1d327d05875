"""The profile of a Bluetooth Low Energy device: in which format it speaks, and what of it is a point."""

from typing import ClassVar, Literal

from pydantic import Field

from models.profile.ble_formats import FORMATS, BleFormatName
from models.profile.parts import Addressing, Number, Point, Profile, Section

ADDRESS = r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"


class BleSection(Section):
    """How the device speaks."""

    format: BleFormatName = Field(description="of its frames")
    authenticated: bool = Field(
        description="true: its key proves who sent a frame, and what has no proof is refused; false: anybody "
        "near by could have sent it"
    )
    checksum: bool = Field(
        default=True, description="atorch: false for models whose checksum is known to be wrong"
    )


class BlePoint(Point):
    """One quantity, and the field of the format that it is taken from.

    value = field in the unit of the format x scale + offset: `scale` is 1 unless the unit is another one.
    """

    fields: tuple[str, ...] = Field(
        min_length=1,
        description='of the format, "0x4D" for an object of BTHome; the first that a frame has is taken',
    )

    @property
    def place(self) -> str:
        """See `Point`."""
        return " or ".join(self.fields)


class BleGolden(Section):
    """A frame from the source and what it says: the profile checks itself with it. `null`: not available."""

    frame: str = Field(description="hex of the service data or manufacturer data, or of what was notified")
    uuid: int | None = Field(
        default=None, ge=0, le=0xFFFF, description="of the service data, where the format has several"
    )
    address: str = Field(default="54:48:E6:8F:80:A5", pattern=rf"^{ADDRESS}$", description="of the sender")
    key: str | None = Field(default=None, description="hex; a published one")
    values: dict[str, Number | None] = Field(min_length=1)
    source: str = Field(default="", description="where the frame comes from")


class BleProfile(Profile):
    """One model of Bluetooth device."""

    buses: ClassVar = ("ble",)

    family: Literal["ble"] = Field(description="the driver that talks to it")
    ble: BleSection = Field(description="how it speaks")
    points: tuple[BlePoint, ...] = Field(min_length=1, description="what the device can tell")
    golden: tuple[BleGolden, ...] = Field(default=(), description="frames with the values they carry")

    @property
    def addressing(self) -> Addressing:  # type: ignore[override]  # whether there is a key: by profile here
        """See `Profile`."""
        found = FORMATS[self.ble.format]
        return Addressing(
            "address",
            pattern=ADDRESS,
            told="its Bluetooth address, as A4:C1:38:00:00:01",
            key="required" if self.ble.authenticated else found.key,
        )

    @property
    def unauthenticated(self) -> bool:
        """See `Profile`."""
        return not self.ble.authenticated
