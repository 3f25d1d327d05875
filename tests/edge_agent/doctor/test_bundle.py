"""A bundle for support helps, and no secret of the gateway is in it, however it is written."""

import asyncio
import base64
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.commands.doctor import doctor
from edge_agent.doctor.bundle import BundleThere
from edge_agent.doctor.scrub import Scrubber
from models.actions import HIDDEN
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.gateways import Machine, configured, enrolled
from tests.support.https import Collector
from tests.support.items import readings

SECRETS = {
    "broker password": b"Rosenkohl-7714",
    "door password": b"hik.Pa55!word",
    "push path": b"a9Xk2LmQ8rTz4Vb7Nc1W",
    "ble key": bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932"),
    "at-rest key": bytes(range(101, 133)),
    "pseudonym key": bytes(range(1, 33)),
    "wifi": b"Wohnzimmer42plus",
    "wifi in a comment": b"Kellerwlan99xyz",
    "proxy password": b"pr0xyPass77",
    "card": b"0004711823",
    "card in groups": b"6214 8301 2345 6789",
    "pin": b"739106",
    "enrolment token": b"ghe1.k9HbdHRwczovL2xvY2FsaG9zdDo4NDQz",
    "api token": b"ght_Zm9vYmFyYmF6cXV4cXV1eA",
    "session": b"eyJhbGciOiJIUzI1NiJ9Zm9vYmFy",
}
LOG = """\
2026-11-18T08:00:00.123Z info: reading 3 devices
2026-11-18T08:00:01.000Z debug: enrolling with {enrolment token}
2026-11-18T08:00:01.000Z debug: GET /api Authorization: Bearer {api token}
2026-11-18T08:00:02.000Z debug: cookie={session}
2026-11-18T08:00:03.000Z info: door-01: card {card} opened door 2
2026-11-18T08:00:03.000Z info: door-01: {card in groups} refused, pin {pin}
2026-11-18T08:00:04.000Z debug: wpa_supplicant: psk="{wifi}" ssid=hall
2026-11-18T08:00:05.000Z debug: http://proxy-user:{proxy password}@proxy:3128 used
2026-11-18T08:00:06.000Z debug: connecting with {broker password}; then {door password}
2026-11-18T08:00:07.000Z warning: meter-01: no reply within 1 s
"""


def gateway(folder: Path) -> Path:
    """With a secret in each place where people and programs put one."""
    for name, of in (("broker.pw", "broker password"), ("door.pw", "door password"), ("path", "push path")):
        (folder / name).write_bytes(SECRETS[of] + b"\n")
    (folder / "ble.key").write_text(SECRETS["ble key"].hex())
    (folder / "at-rest.key").write_bytes(SECRETS["at-rest key"])
    path = configured(
        folder,
        wifi={"ssid": "hall", "psk": SECRETS["wifi"].decode()},  # has no place here
        buses=[
            {"id": "air", "ble": {}},
            {
                "id": "gate",
                "door_controller": {
                    "url": "http://127.0.0.1:1",
                    "username": "gateway",
                    "password_file": "door.pw",
                    "listen_path_file": "path",
                },
            },
            {"id": "lora", "chirpstack": {"host": "127.0.0.1", "port": 1, "password_file": "broker.pw"}},
        ],
        devices=[{"id": "scale", "bus": "air", "profile": "x", "period_s": 60, "key_file": "ble.key"}],
    )
    path.write_text(path.read_text() + f"\n# wlan password {SECRETS['wifi in a comment'].decode()}\n")
    state = folder / "state"
    (state / "pseudonym.key").write_bytes(SECRETS["pseudonym key"])
    log = LOG.format(**{name: secret.decode("latin-1") for name, secret in SECRETS.items()})
    log += f"push to /{SECRETS['push path'].decode()}\n"
    log += f"key {SECRETS['ble key'].hex(' ')}, {base64.b64encode(SECRETS['at-rest key']).decode()}\n"
    (folder / "agent.log").write_text(log + next(state.rglob("gateway.pem")).read_text())
    return path


def own_secrets(folder: Path) -> dict[str, bytes]:
    """Those that were born on the gateway."""
    found = {path.name: path.read_bytes() for path in (folder / "state").rglob("*.key")}
    pem = next((folder / "state").rglob("gateway.pem")).read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    middle = pem.splitlines()[1]
    return {**found, "signing key": key.private_bytes_raw(), "signing key as text": middle}


def forms(secret: bytes) -> Iterator[bytes]:
    """As it may be found again: itself, in hex, in base64 wherever it begins in a longer text."""
    yield secret
    for separator in ("", " ", ":"):
        yield (secret.hex(separator) if separator else secret.hex()).encode()
    for ahead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * ahead + secret)
            yield whole[(0, 2, 3)[ahead] : len(whole) - 4]


async def test_a_bundle_holds_what_helps_and_no_secret_in_any_form(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async with Collector().serve() as collector:
        await asyncio.to_thread(enrolled, tmp_path, collector)
    path, file = await asyncio.to_thread(gateway, tmp_path), tmp_path / "state" / "buffer.db"
    async with await open_buffer(file, clock.clock, window_s=0) as buffer:
        await buffer.outbox("main")
        await buffer.append(readings(42))
    host = Machine(tmp_path / "m").host(
        HTTPS_PROXY=f"http://proxy-user:{SECRETS['proxy password'].decode()}@proxy:3128"
    )
    target = tmp_path / "bundle.tar.gz"
    answer = await asyncio.to_thread(doctor, path, host, bundle=target, log=tmp_path / "agent.log")
    with tarfile.open(target) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    parts = {part.name: part.read_bytes() for part in (tmp_path / "out").rglob("*") if part.is_file()}
    everything = b"\0".join(parts.values()).lower()
    for name, secret in {**SECRETS, **own_secrets(tmp_path)}.items():
        for form in forms(secret):
            assert form.lower() not in everything, f"{name}: {form!r}"

    assert set(answer.data["bundle"]["parts"]) >= {"doctor.json", "status.json", "config.json", "log.txt"}
    assert json.loads(parts["state.json"])["buffer"]["outboxes"]["main"]["pending"] == 42
    config = json.loads(parts["config.json"])["data"]
    assert config["buses"][2]["chirpstack"]["password_file"] == "broker.pw"
    assert config["wifi"] == HIDDEN
    assert b"meter-01: no reply within 1 s" in parts["log.txt"]
    assert b"2026-11-18T08:00:00.123Z info: reading 3 devices" in parts["log.txt"]
    assert x509.load_pem_x509_certificate(parts["main-gateway.pem"])
    assert {check["check"] for check in json.loads(parts["doctor.json"])["checks"]} >= {"disk.space"}
    assert target.stat().st_mode & 0o777 == 0o600


def test_the_test_would_see_a_secret(tmp_path: Path) -> None:
    secret = SECRETS["at-rest key"]
    text = base64.b64encode(b"ab" + secret + b"c").decode()
    assert any(form.lower() in text.lower().encode() for form in forms(secret))


def test_a_bundle_is_never_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BundleThere):
        doctor(configured(tmp_path), Machine(tmp_path / "m").host(), bundle=tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_bundle_is_made_of_a_gateway_without_anything(tmp_path: Path) -> None:
    target = tmp_path / "bundle.tar.gz"
    doctor(tmp_path / "gateway.yaml", Machine(tmp_path / "m").host(), bundle=target)
    with tarfile.open(target) as archive:
        config = archive.extractfile("bundle/config.json")
        assert config is not None
        assert "cannot be read" in json.load(config)


@given(st.binary(min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_known_secret_is_hidden_in_each_form(secret: bytes, before: str, after: str) -> None:
    scrubber = Scrubber([secret])
    for form in (secret.hex(), secret.hex(" ").upper(), base64.b64encode(secret).decode()):
        assert form not in scrubber.text(f"{before}{form}{after}")


def test_plain_talk_is_left_as_it_is() -> None:
    scrubber = Scrubber([os.urandom(32), b"", b"ab"])
    for text in (
        "2026-11-18T08:00:00.123456Z info: reading 12 devices on 3 buses",
        "meter-01: no reply within 1.5 s; 9600 baud, even parity",
        "status on http://127.0.0.1:9464/status",
    ):
        assert scrubber.log(text) == text
