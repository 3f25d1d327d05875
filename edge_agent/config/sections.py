"""What stands in gateway.yaml, section by section."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from models.actions import Group

MIN_BUFFER_MB = 16

BUFFER_FILE = "buffer.db"
"""In `gateway.state_dir`; a lock beside it says that an agent runs."""


class Section(BaseModel):
    """Any part of the file: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyTokenSection(Section):
    """A chip, card or TPM with the interface PKCS#11."""

    module: str = Field(min_length=1, description="its library, such as /usr/lib/softhsm/libsofthsm2.so")
    token: str = Field(min_length=1, description="its label")
    pin_file: str = Field(min_length=1, description="a file with its PIN, for your eyes only")


class GatewaySection(Section):
    state_dir: str = Field(default="state", min_length=1, description="folder for buffer and identity")
    profiles_dir: str | None = Field(default=None, min_length=1, description="folder with your own profiles")
    at_rest_key_file: str | None = Field(
        default=None, min_length=1, description="a file with the 32 bytes that encrypt the buffer"
    )
    at_rest_cipher: Literal["aes-256-gcm-siv", "sm4-gcm"] = "aes-256-gcm-siv"
    key_token: KeyTokenSection | None = Field(
        default=None, description="a PKCS#11 token that locks the keys of this gateway, from enrolment on"
    )


class HealthSection(Section):
    host: str = Field(default="127.0.0.1", description="a loopback address: 127.0.0.1 or ::1")
    port: int = Field(default=9464, ge=0, le=65535, description="0 takes any free port")


class BufferSection(Section):
    retention_days: float = Field(
        default=30,
        ge=0,
        le=3650,
        description="how long delivered batches stay, for a collector that was restored",
    )
    max_mb: int = Field(
        default=512, ge=MIN_BUFFER_MB, le=1 << 20, description="the most that the buffer takes on disk"
    )


class UplinkSection(Section):
    """What is common to all collectors."""

    live_every_s: float = Field(
        default=10, ge=1, le=86_400, description="how long a reading may wait to be sent"
    )
    max_items: int = Field(default=5000, ge=1, le=50_000, description="readings and events in one batch")
    backlog_per_s: float | None = Field(
        default=None, ge=1, description="after an outage, how many readings a second at most are made up for"
    )
    proxy: str | None = Field(default=None, description="http://host:port, between here and the collectors")
    proxy_login_file: str | None = Field(
        default=None, min_length=1, description="a file with user:password for the proxy"
    )


class CollectorSection(Section):
    """One collector. What is left out is as `uplink` has it for all of them."""

    carrier: Literal["https", "mqtt", "stick"] = Field(
        default="https", description="what carries batches there; stick: people, who carry files"
    )
    broker: str | None = Field(default=None, description="mqtts://host:port, for mqtt")
    live_every_s: float | None = Field(default=None, ge=1, le=86_400)
    max_items: int | None = Field(default=None, ge=1, le=50_000)
    backlog_per_s: float | None = Field(default=None, ge=1)
    proxy: str | None = Field(default=None, description="http://host:port, or none where `uplink` has one")
    proxy_login_file: str | None = Field(default=None, min_length=1)


class CommandsSection(Section):
    allow: tuple[Group, ...] = Field(
        default=(), description="what the collector may have done here; a technician on site may always"
    )


class ConfigurationSection(Section):
    allow_push: tuple[str, ...] = Field(
        default=(),
        description="the collectors that may push what is read here, by name; if there is one: [main]",
    )


class ModbusTcp(Section):
    """A device or converter that speaks Modbus TCP."""

    host: str = Field(min_length=1, description="name or address")
    port: int = Field(default=502, ge=1, le=65535)


class Serial(Section):
    """A serial line of the gateway itself."""

    port: str = Field(min_length=1, description="/dev/serial/by-id/…, which stays the same after a reboot")
    baud: PositiveInt = Field(
        default=9600, le=4_000_000, description="bits per second, as the devices have it"
    )
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    turnaround_s: float = Field(
        default=0, ge=0, le=1, description="silence before each request, where devices need more than usual"
    )


class SerialServer(Section):
    """A serial line behind a converter that passes its bytes on over TCP, without Modbus TCP."""

    host: str = Field(min_length=1, description="name or address")
    port: int = Field(ge=1, le=65535)
    turnaround_s: float = Field(
        default=0, ge=0, le=1, description="silence before each request, where devices need more than usual"
    )


class Ble(Section):
    """The Bluetooth radio of the gateway."""

    adapter: str = Field(default="hci0", pattern=r"^[a-z]+[0-9]+$", description="hci0 is the first")
    scanning: Literal["passive", "active"] = Field(
        default="active", description="passive needs BlueZ with its experimental features"
    )


class ChirpStack(Section):
    """A LoRaWAN network server, by its MQTT broker."""

    host: str = Field(min_length=1, description="of the broker")
    port: int = Field(default=1883, ge=1, le=65535)
    application: str = Field(default="+", min_length=1, description="application id; + takes all")
    username: str | None = Field(default=None, min_length=1)
    password_file: str | None = Field(default=None, min_length=1, description="a file with the password")
    ca_file: str | None = Field(default=None, min_length=1, description="with it the connection is TLS")


DoorNumber = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}$")]
PSEUDONYM_KEY = "a file with the institution's 32 bytes for pseudonyms; without it the gateway makes its own"


class DoorController(Section):
    """A door controller that tells events by HTTP."""

    url: str = Field(pattern=r"^https?://[^\s/@]+$", description="https://192.168.1.20")
    username: str = Field(min_length=1)
    password_file: str = Field(min_length=1, description="a file with the password, for your eyes only")
    ca_file: str | None = Field(
        default=None, min_length=1, description="what its certificate is checked with"
    )
    listen_host: str | None = Field(
        default=None,
        min_length=1,
        description="where the controller pushes to; without it, events are pulled",
    )
    listen_port: int | None = Field(default=None, ge=1, le=65535)
    listen_path_file: str | None = Field(
        default=None,
        min_length=1,
        description="a file with the secret path that it pushes to: 16 or more letters and digits",
    )
    doors: dict[DoorNumber, str] = Field(default={}, description="names of its doors, by number")
    readers: dict[DoorNumber, Literal["in", "out"]] = Field(
        default={}, description="which way its readers lead, by number"
    )
    pseudonym_key_file: str | None = Field(default=None, min_length=1, description=PSEUDONYM_KEY)
    pseudonyms: Literal["hmac-sha256", "hmac-sm3"] = "hmac-sha256"

    @model_validator(mode="after")
    def _pushes_to_a_whole_address(self) -> Self:
        given = (self.listen_host, self.listen_port, self.listen_path_file)
        if None in given and any(part is not None for part in given):
            raise ValueError("listen_host, listen_port and listen_path_file go together")
        return self


class Osdp(Section):
    """A serial line of door readers."""

    port: str = Field(min_length=1, description="/dev/serial/by-id/…")
    baud: PositiveInt = Field(default=9600, le=4_000_000)
    pseudonym_key_file: str | None = Field(default=None, min_length=1, description=PSEUDONYM_KEY)
    pseudonyms: Literal["hmac-sha256", "hmac-sm3"] = "hmac-sha256"


class Parking(Section):
    """Zones of a car park, which the gateway counts from the bays of all other buses."""


class BusSection(Section):
    """One thing that devices are connected to. Exactly one of the keys besides `id` says what it is."""

    id: str = Field(min_length=1, max_length=64)
    modbus_tcp: ModbusTcp | None = Field(default=None, description="host and port of the device or converter")
    serial: Serial | None = Field(default=None, description="a serial line of this machine")
    serial_server: SerialServer | None = Field(default=None, description="a serial line behind TCP")
    ble: Ble | None = Field(default=None, description="Bluetooth Low Energy")
    chirpstack: ChirpStack | None = Field(default=None, description="LoRaWAN")
    door_controller: DoorController | None = Field(default=None, description="a door controller with HTTP")
    osdp: Osdp | None = Field(default=None, description="a serial line of door readers")
    parking: Parking | None = Field(default=None, description="zones, counted from bays; write {}")

    @property
    def kinds(self) -> list[str]:
        """The keys that are given; in a file without mistakes that is one."""
        return [kind for kind in BUS_KINDS if getattr(self, kind) is not None]

    @property
    def kind(self) -> str:
        return self.kinds[0]


BUS_KINDS = tuple(name for name in BusSection.model_fields if name != "id")


class ReportSection(Section):
    """When a reading of a point is news."""

    dead_band: float | None = Field(default=None, gt=0, description="in the unit of the point")
    dead_band_pct: float | None = Field(
        default=None, gt=0, le=100, description="or as a part of the last value that was kept"
    )
    min_interval_s: float = Field(default=0, ge=0, le=86_400, description="not more often than this")
    max_interval_s: float = Field(default=900, gt=0, le=86_400, description="at least this often")


class DeviceSection(Section):
    id: str = Field(
        min_length=1, max_length=64, description="never change it: the collector knows the device by it"
    )
    name: str = Field(default="", max_length=200, description="what people call it")
    bus: str = Field(description="the id of a bus above")
    unit: int | None = Field(
        default=None, ge=0, le=255, description="its unit id (slave address) on the bus; Modbus and OSDP"
    )
    address: str | None = Field(
        default=None, min_length=1, max_length=64, description="its number, where that is not a unit id"
    )
    key_file: str | None = Field(
        default=None, min_length=1, description="a file with its secret key in hex, for your eyes only"
    )
    profile: str = Field(description="what kind of device it is; see `edge-agent profiles`")
    period_s: float = Field(ge=1, le=86_400, description="how often it is read, or should say something")
    parameters: dict[str, float] = Field(default={}, description="such as transformer ratios")
    zone: str | None = Field(
        default=None, min_length=1, description="the id of the parking zone that its bays belong to"
    )
    report: dict[str, ReportSection] = Field(
        default={}, description="by point, when a reading is kept; * stands for all others"
    )

    @property
    def unit_number(self) -> int:
        """Its unit id, also where none is written."""
        return 1 if self.unit is None else self.unit


class ConfigFile(Section):
    """What stands in gateway.yaml."""

    gateway: GatewaySection = GatewaySection()
    health: HealthSection = HealthSection()
    buffer: BufferSection = BufferSection()
    uplink: UplinkSection = UplinkSection()
    collectors: dict[str, CollectorSection] = Field(
        default={}, description="by name of your choice; without it there is one, main, by HTTPS"
    )
    commands: CommandsSection = CommandsSection()
    configuration: ConfigurationSection = ConfigurationSection()
    buses: tuple[BusSection, ...] = Field(default=(), description="what devices are connected to")
    devices: tuple[DeviceSection, ...] = Field(default=(), description="what is read")
    devices_csv: str | None = Field(
        default=None, min_length=1, description="a CSV file with more devices, one a line"
    )
