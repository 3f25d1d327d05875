"""`collector broker`: writes what a Mosquitto needs to stand between gateways and collectors."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from collector.commands.answer import Answer
from collector.identity.ca import general_name
from collector.identity.home import Home, write_file
from collector.settings import load_settings
from models.errors import NeedsAHuman

CONFIGURATION = "gatehouse.conf"


class CannotWrite(NeedsAHuman):
    """The options or the folder are not usable."""


def broker(folder: Path, target: Path, names: Sequence[str], port: int, at: str | None) -> Answer:
    """A fresh key and certificate each time; `at` is where the files will be on the broker."""
    for name in names:
        try:
            general_name(name)
        except ValueError:
            raise CannotWrite(f"--name {name!r} is neither a host name nor an address") from None
    home = Home(folder)
    now, life = datetime.now(UTC), load_settings(folder).certificates.lives.server
    pair = home.authority().certify_server(names, now, life)
    shipped = files("firmware_configs").joinpath("mosquitto")
    configuration = shipped.joinpath(CONFIGURATION).read_text(encoding="utf-8")
    place = at or str(target.resolve())
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(target / "ca.pem", home.ca_certificate.read_bytes(), private=False)
        write_file(target / "broker.key", pair.key_pem)
        write_file(target / "broker.pem", pair.certificate_pem, private=False)
        write_file(target / "gatehouse.acl", shipped.joinpath("gatehouse.acl").read_bytes(), private=False)
        text = configuration.replace("@FOLDER@", place).replace("@PORT@", str(port))
        write_file(target / CONFIGURATION, text.encode(), private=False)
    except OSError as err:
        raise CannotWrite(
            f"{err.filename or target}: {err.strerror}; choose a folder that can be written"
        ) from err
    url, ends = f"mqtts://{names[0]}:{port}", now + life
    return Answer(
        {"folder": str(target), "broker": url, "certificate_ends": ends.isoformat(), "names": list(names)},
        f"{target} holds what the broker {url} needs, with a certificate until {ends:%Y-%m-%d}: run this "
        "again before then, and restart the broker.\n"
        f"On the broker:      mosquitto -c {place}/{CONFIGURATION}\n"
        f'In collector.yaml:  mqtt: {{broker: "{url}"}}\n'
        f'In gateway.yaml:    collectors: {{main: {{carrier: mqtt, broker: "{url}"}}}}',
    )
