"""Reads what ChirpStack v4 publishes: JSON of Protocol Buffers, which leave out what is 0 or empty.

Facts: chirpstack/chirpstack api/proto/integration/integration.proto; ChirpStack documentation, Event types.
Whoever may publish to the broker may send anything: what is not exactly of this form is refused.
"""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from models.errors import BadInput

EVENTS: Final = ("up", "join", "status", "log")
"""Those that are listened to. The others (ack, txack, location, integration) tell nothing of a bay."""

MOST_BYTES: Final = 65_536  # of one message; an uplink heard by 20 gateways has 10 000
MOST_TEXT: Final = 200  # of a description, which is for people

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP = 60  # the second that is put in now and then
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_TOPIC = re.compile(r"application/([^/]{1,64})/device/([0-9a-fA-F]{16})/event/([a-z]+)", re.ASCII)


class MessageRefused(BadInput):
    """A message that is not one of ChirpStack's. `reason` is one word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


_Eui = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{16}$")]
_Address = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}$")]
_Id = Annotated[str, Meta(max_length=64)]


class DeviceInfo(msgspec.Struct, frozen=True, rename="camel"):
    dev_eui: _Eui


class RxInfo(msgspec.Struct, frozen=True, rename="camel"):
    """How one LoRaWAN gateway heard an uplink."""

    rssi: Annotated[int, Meta(ge=-400, le=100)] = 0  # dBm
    snr: Annotated[float, Meta(ge=-200, le=200)] = 0.0  # dB


class _Message(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    device_info: DeviceInfo
    deduplication_id: _Id = ""
    time: Annotated[str, Meta(max_length=64)] | None = None


class Uplink(_Message, frozen=True, rename="camel", kw_only=True):
    dev_addr: _Address = "00000000"
    f_cnt: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    f_port: Annotated[int, Meta(ge=0, le=0xFF)] = 0
    data: Annotated[str, Meta(max_length=400)] = ""  # base64; LoRaWAN carries 242 bytes
    rx_info: Annotated[list[RxInfo], Meta(max_length=200)] = []

    @property
    def payload(self) -> bytes:
        """Raises MessageRefused."""
        try:
            return base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as err:
            raise MessageRefused("malformed", "its data are not base64") from err


class Join(_Message, frozen=True, rename="camel", kw_only=True):
    dev_addr: _Address = "00000000"


class NetworkStatus(_Message, frozen=True, rename="camel", kw_only=True):
    margin: Annotated[int, Meta(ge=-128, le=127)] = 0  # dB
    external_power_source: bool = False
    battery_level_unavailable: bool = False
    battery_level: Annotated[float, Meta(ge=0, le=100)] = 0.0  # percent

    @property
    def told(self) -> dict[str, float]:
        """By the names of `models.profile.parking_sensor.Network`."""
        has_battery = not (self.external_power_source or self.battery_level_unavailable)
        battery: dict[str, float] = {"battery_pct": self.battery_level} if has_battery else {}
        return {"margin_db": self.margin, **battery}


class NetworkLog(_Message, frozen=True, rename="camel", kw_only=True):
    level: Annotated[str, Meta(max_length=32)] = "INFO"
    code: Annotated[str, Meta(max_length=64)] = "UNKNOWN"
    description: str = ""


Message = Uplink | Join | NetworkStatus | NetworkLog
_DECODERS: dict[str, msgspec.json.Decoder[Message]] = {
    "up": msgspec.json.Decoder(Uplink),
    "join": msgspec.json.Decoder(Join),
    "status": msgspec.json.Decoder(NetworkStatus),
    "log": msgspec.json.Decoder(NetworkLog),
}


class Heard(NamedTuple):
    """One message, understood."""

    eui: str  # upper case
    message: Message
    time_ms: int | None  # of the network server's clock


def read_message(topic: str, body: bytes) -> Heard:
    """Raise MessageRefused."""
    where = _TOPIC.fullmatch(topic)
    if where is None or where[3] not in _DECODERS:
        raise MessageRefused("foreign-topic", "came on a topic that is none of ChirpStack's events")
    if len(body) > MOST_BYTES:
        raise MessageRefused("too-long", f"has {len(body)} bytes")
    try:
        message = _DECODERS[where[3]].decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as err:
        raise MessageRefused("malformed", f"is no such event: {str(err)[:MOST_TEXT]}") from err
    eui = where[2].upper()
    if message.device_info.dev_eui.upper() != eui:
        raise MessageRefused("foreign-device", "names another device than its topic")
    return Heard(eui, message, None if message.time is None else _milliseconds(message.time))


def _milliseconds(text: str) -> int:
    """Of an RFC 3339 time with up to nine digits of a second, which are cut off behind the third."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise MessageRefused("malformed", "its time is no time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    offset = timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
    try:
        zone = timezone(-offset if match[8] == "-" else offset)
        at = datetime(year, month, day, hour, minute, 59 if second == _LEAP else second, tzinfo=zone)
    except ValueError as err:
        raise MessageRefused("malformed", "its time is no time") from err
    return (at - _EPOCH) // timedelta(milliseconds=1) + int((match[7] or "0").ljust(3, "0")[:3])
