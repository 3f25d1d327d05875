"""The settings file of a collector, `collector.yaml`, as a checked model."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from collector.alerts.receivers import Receiver
from collector.forward.settings import UpstreamSection
from collector.identity.ca import Lives
from collector.insight.factors import Factor
from collector.insight.settings import Detectors
from models.document import DocumentMistakes, Mistake, Problem, load_document

FILE = "collector.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Section):
    """Where gateways, the API and the page are served, by TLS."""

    host: str = "0.0.0.0"  # noqa: S104  # gateways are on other machines
    port: int = Field(default=8443, ge=0, le=65535, description="0: any free port")


class LocalHttp(_Section):
    """The page and the API without TLS, for a reverse proxy or a person on the same machine only."""

    port: int = Field(default=8080, ge=0, le=65535, description="0: any free port")


class Certificates(_Section):
    """How long certificates are good. Gateways renew theirs by themselves when two thirds are over."""

    gateway_days: float = Field(default=365, ge=0.01, le=3650)
    server_days: float = Field(default=730, ge=0.01, le=3650)

    @property
    def lives(self) -> Lives:
        return Lives(timedelta(days=self.gateway_days), timedelta(days=self.server_days))


class Mqtt(_Section):
    """A broker by which gateways may ask too; `collector broker` writes what it needs."""

    broker: str = Field(pattern=r"^mqtts://[^/?#@\s]+:[0-9]{1,5}$", description="mqtts://host:port")


class Settings(_Section):
    """All of `collector.yaml`."""

    url: str = Field(
        pattern=r"^https://[^/?#]+/?$",
        max_length=300,
        description="how gateways reach this collector; goes into enrolment tokens",
    )
    names: list[str] = Field(
        default=[], description="further host names and addresses that the server's certificate is good for"
    )
    listen: Listen = Listen()
    local_http: LocalHttp | None = None
    certificates: Certificates = Certificates()
    mqtt: Mqtt | None = None
    upstream: UpstreamSection | None = None
    receivers: list[Receiver] = []
    detectors: Detectors = Detectors()
    factors: list[Factor] = Field(
        default=[], description="tariffs and local factors; they stand before those that are shipped"
    )

    def server_names(self) -> list[str]:
        """Every name that the server's certificate must have."""
        return [urlsplit(self.url).hostname or "", *self.names]


def load_settings(folder: Path) -> Settings:
    """Raise DocumentMistakes with all that is wrong in the file, or that there is none."""
    path = folder / FILE
    try:
        text = path.read_bytes()
    except OSError as err:
        raise DocumentMistakes(
            [Problem(str(path), 1, "", f"cannot be read: {err.strerror}", "create it with `collector init`")]
        ) from err
    return check_settings(text, path)


def check_settings(text: str | bytes, path: Path) -> Settings:
    """Raise DocumentMistakes."""
    return load_document(text, Settings, file=str(path), check=_check)


def _check(settings: Settings) -> list[Mistake]:
    mistakes = []
    seen: set[str] = set()
    for index, receiver in enumerate(settings.receivers):
        if receiver.name in seen:
            mistakes.append(
                Mistake(("receivers", index, "name"), f"{receiver.name!r} is there twice", "rename one")
            )
        seen.add(receiver.name)
    try:
        parts = urlsplit(settings.url)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        mistakes.append(Mistake(("url",), "is not an address", "such as https://collector.example:8443"))
    return mistakes


def new_settings_text(url: str, host: str, port: int, names: list[str], http_port: int | None) -> str:
    """The file that `collector init` writes; its comments are the manual."""
    local = (
        "# local_http: {port: 8080}      # page and API without TLS, for this machine only\n"
        if http_port is None
        else f"local_http: {{port: {http_port}}}        # page and API without TLS, for this machine only\n"
    )
    listed = "[" + ", ".join(f'"{name}"' for name in names) + "]"
    return f"""\
# Settings of this collector. `collector serve` reads them when it starts.

url: "{url}"      # how gateways reach it; goes into enrolment tokens
names: {listed}              # further host names and addresses for the server's certificate
listen: {{host: "{host}", port: {port}}}
{local}# mqtt: {{broker: "mqtts://broker.example:8883"}}  # gateways may come by it too: `collector broker`

certificates: {{gateway_days: 365, server_days: 730}}  # their lives; all are renewed in time by themselves

# Who is told of alerts.
receivers: []
#  - {{kind: email, name: duty, host: mail.example, port: 587, security: starttls, user: gatehouse,
#     password: "…", sender: gatehouse@example.org, to: [duty@example.org], language: zh}}
#  - {{kind: webhook, name: platform, url: "https://platform.example/hook", secret: "at least 16 characters"}}

# What is looked for. Every detector runs unless it is switched off here.
detectors:
  unusual_consumption: {{enabled: true}}
  stuck_meter: {{enabled: true, after_hours: 6}}
  silent_gateway: {{enabled: true, after_minutes: 15}}
  refused_gateway: {{enabled: true}}
  returning_gateway: {{enabled: true}}
  late_upstream: {{enabled: true, after_minutes: 15}}
  fallen_counter: {{enabled: true}}

# What energy is worth here, before the factors that come with the collector (standard coal, national grid).
factors: []
#  - {{quantity: cost, unit: kWh, item: "01", per_unit: 0.75, currency: CNY, source: "contract of 2026"}}
#  - {{quantity: co2, unit: kWh, item: "01", per_unit: 0.7252, source: "grid factor of Hebei, 2022"}}
"""
