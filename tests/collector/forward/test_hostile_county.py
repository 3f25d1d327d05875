"""Whoever has a county's collector can let its gateways be read by the area, and can forge nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from collector.forward.gateways import OurGateways
from collector.forward.place import Place
from collector.identity.ca import CertificateAuthority
from collector.identity.home import Home
from collector.insight.refused import judge_refusals
from collector.intake.forwarded import check_announcement
from collector.intake.refusals import Refused
from collector.store.engine import Store
from collector.store.schema import alert, refusal
from edge_agent.identity.enroll import EnrolmentRefused, enroll
from edge_agent.identity.folder import Identity
from edge_agent.uplink.questions import CollectorRefused, Questions
from models.announcement import MOST_KEYS, AnnouncedKey, Announcement, sign_announcement
from models.protocol import Code, EnrollmentToken, next_key_statement
from tests.support.collector import a_reading
from tests.support.running import RunningCollector, new_home, real_now_ms
from tests.support.tiers import (
    Gateway,
    Tiers,
    add_sites,
    as_the_county,
    books,
    county_token,
    gateways_at,
    new_tiers,
    rows,
)


@dataclass
class Scene:
    """A county that has forwarded, and in whose name somebody else asks now."""

    tiers: Tiers
    area: RunningCollector
    identity: Identity
    hall: Gateway
    annex: Gateway
    ask: Questions

    async def announcement(self, gateway: Gateway) -> Announcement:
        """As the county itself has made it."""
        async with await Store.open(self.tiers.county.database) as store:
            made = await OurGateways(store, self.tiers.county.keyring(), self.identity).introduce(gateway.id)
        return msgspec.msgpack.decode(made.body[4:-64], type=Announcement)

    async def announce(self, said: Announcement) -> None:
        body = sign_announcement(said, self.identity.envelope_key)
        await self.ask.announce(said.gateway_id, body)

    async def refusals(self) -> dict[str, int]:
        """What was refused in the county's name and looks like an attack."""
        ordinary = (Code.UNKNOWN_KEY, Code.UNKNOWN_GATEWAY)
        async with await Store.open(self.tiers.area.database) as store, store.read() as connection:
            query = select(refusal.c.code, refusal.c.count).where(
                refusal.c.gateway_id == self.identity.gateway_id, refusal.c.code.not_in(ordinary)
            )
            found = await connection.execute(query)
            return {row[0]: row[1] for row in found}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    tiers = await new_tiers(tmp_path)
    tiers.settle(share={"sites": ["hall", "annex"]})
    async with tiers.serving_area() as area:
        identity = await tiers.belong(area)
        async with tiers.serving_county() as county:
            hall, annex = await gateways_at(county, tmp_path, "hall", "annex")
            await hall.send(2)
            await annex.send(2)
            await tiers.until_all_is_there(hall, annex)
        async with as_the_county(identity) as ask:
            yield Scene(tiers, area, identity, hall, annex, ask)


def certified(home: Home, key: Ed25519PrivateKey, gateway_id: str) -> bytes:
    """What the CA of that collector can say of any key."""
    certificate = home.authority().certify_gateway(key.public_key(), gateway_id, datetime.now(UTC))
    return certificate.public_bytes(Encoding.DER)


async def refused(code: str, asked: Awaitable[object]) -> None:
    with pytest.raises(CollectorRefused) as said:
        await asked
    assert said.value.code == code


async def test_forged_and_swapped_envelopes_are_refused_counted_and_are_one_alert(scene: Scene) -> None:
    hall, annex = scene.hall, scene.annex
    before = await books(scene.area.home, hall, annex)
    forger = replace(hall.sender, signing_key=Ed25519PrivateKey.generate())
    forger.content_key = hall.sender.content_key  # which the county knows
    forged = forger.seal([a_reading(99.0)]).body
    swapped = forged.replace(hall.id.encode(), annex.id.encode())
    genuine = hall.sent[1].body
    changed = genuine[:-80] + bytes([genuine[-80] ^ 1]) + genuine[-79:]
    for body in (forged, swapped, changed, genuine.replace(hall.id.encode(), annex.id.encode())):
        await refused(Code.BAD_SIGNATURE, scene.ask.send_batch(body, after=0))
    own = replace(forger, gateway_id=scene.identity.gateway_id)
    await refused(Code.FOREIGN_GATEWAY, scene.ask.send_batch(own.seal([a_reading()]).body))
    await refused(
        Code.UNKNOWN_GATEWAY, scene.ask.send_batch(replace(own, gateway_id="gw-0").seal([None]).body)
    )
    assert await books(scene.area.home, hall, annex) == before
    assert await scene.refusals() == {Code.BAD_SIGNATURE: 4, Code.FOREIGN_GATEWAY: 1}
    async with await Store.open(scene.area.home.database) as store, store.write() as connection:
        for _ in range(2):
            await judge_refusals(connection, [], now_ms=real_now_ms())
        [raised] = (await connection.execute(alert.select())).all()
    assert raised.condition == f"refused:gateway:{scene.identity.gateway_id}"


async def test_a_changed_key_is_taken_only_when_the_gateway_itself_vouches_for_it(scene: Scene) -> None:
    hall, said = scene.hall, await scene.announcement(scene.hall)
    [first] = said.keys
    new = Ed25519PrivateKey.generate()
    certificate, old = certified(scene.tiers.county, new, hall.id), hall.sender.public_key
    thief = Ed25519PrivateKey.generate()
    statement = next_key_statement(hall.id, new.public_key().public_bytes_raw())
    for key in (
        AnnouncedKey(certificate, b"", b""),
        AnnouncedKey(certificate, old, thief.sign(statement)),
        AnnouncedKey(certificate, thief.public_key().public_bytes_raw(), thief.sign(statement)),
        AnnouncedKey(certificate, old, hall.sender.signing_key.sign(b"another statement")),
    ):
        for keys in ([first, key], [key]):
            changed = msgspec.structs.replace(said, keys=keys)
            await refused(Code.FOREIGN_GATEWAY, scene.announce(changed))
    known = "SELECT gateway_id, hex(public_key) FROM gateway_key"
    assert len(await rows(scene.area.home, known)) == 3  # of the county and its two gateways
    vouched = AnnouncedKey(certificate, old, hall.sender.signing_key.sign(statement))
    await scene.announce(msgspec.structs.replace(said, keys=[first, vouched]))
    hall.sender.signing_key = new
    envelope = hall.sender.seal([a_reading(1.5)])
    assert (await scene.ask.send_batch(envelope.body)).digest == envelope.digest.hex()
    assert await scene.refusals() == {Code.FOREIGN_GATEWAY: 8}


async def test_a_gateway_stays_with_its_county_its_site_and_its_suite(scene: Scene, tmp_path: Path) -> None:
    hall, said = scene.hall, await scene.announcement(scene.hall)
    moved = msgspec.structs.replace(said, site_code="annex")
    await refused(Code.FOREIGN_GATEWAY, scene.announce(moved))
    renamed = msgspec.structs.replace(said, gateway_id=scene.annex.id)  # its certificate is for another
    await refused(Code.FOREIGN_GATEWAY, scene.announce(renamed))
    before = await books(scene.area.home, hall)
    other = await new_home(tmp_path / "other", site="hall")
    await add_sites(scene.area.home, "cy")
    token = await county_token(scene.area, site="cy")
    place = Place(other)
    identity = await asyncio.to_thread(lambda: place.enroll(token, again=False, proxy=None))
    async with as_the_county(identity) as ask:
        await refused(Code.FOREIGN_GATEWAY, ask.send_batch(hall.sent[0].body))
        stolen = msgspec.structs.replace(said, collector_id=identity.gateway_id)
        for keys, code in (
            (said.keys, Code.BAD_SIGNATURE),  # certified by the CA of the county that it belongs to
            (
                [AnnouncedKey(certified(other, hall.sender.signing_key, hall.id), b"", b"")],
                Code.FOREIGN_GATEWAY,
            ),
        ):
            body = sign_announcement(msgspec.structs.replace(stolen, keys=keys), identity.envelope_key)
            await refused(code, ask.announce(hall.id, body))
        replayed = sign_announcement(said, scene.identity.envelope_key)
        await refused(Code.BAD_SIGNATURE, ask.announce(hall.id, replayed))
    assert await books(scene.area.home, hall) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"timezone": "Asia"},
        {"timezone": ""},
        {"site_code": "a/b"},
        {"site_code": "a:b"},
        {"site_code": ""},
        {"gateway_id": "gw-1:2"},
        {"gateway_id": "x" * 201},
        {"name": ""},
        {"name": "x" * 201},
        {"site_name": "x" * 201},
        {"suite": "none"},
        {"keys": []},
        {"keys": [AnnouncedKey(b"certificate", b"", b"")] * (MOST_KEYS + 1)},
        {"sm2_key": bytes(65)},
        {"suite": "gm", "sm2_key": bytes(65)},
        {"suite": "gm"},
    ],
    ids=lambda changes: " ".join(f"{name}={str(value)[:20]}" for name, value in changes.items()),
)
def test_an_announcement_that_others_would_stumble_over_is_refused(changes: dict[str, Any]) -> None:
    authority = CertificateAuthority.create(datetime.now(UTC))
    key, gateway_id = Ed25519PrivateKey.generate(), "gw-0123456789ab"
    certificate = authority.certify_gateway(key.public_key(), gateway_id, datetime.now(UTC))
    said = Announcement(
        collector_id="gw-c",
        gateway_id=gateway_id,
        name="北楼",
        site_code="hall",
        site_name="市民中心",
        timezone="Asia/Shanghai",
        suite="standard",
        sm2_key=None,
        keys=[AnnouncedKey(certificate.public_bytes(Encoding.DER), b"", b"")],
    )
    check_announcement(said, authority=authority.certificate_der())
    with pytest.raises(Refused, match=Code.MALFORMED):
        check_announcement(msgspec.structs.replace(said, **changes), authority=authority.certificate_der())


async def test_each_token_is_for_its_kind_and_a_site_has_one_collector(scene: Scene, tmp_path: Path) -> None:
    of_gateway = await scene.area.enrollment_token(site="cx")
    of_county = await county_token(scene.area)
    await add_sites(scene.area.home, "cy")
    of_other = await county_token(scene.area, site="cy")
    ca = scene.tiers.county.authority().certificate_der()

    async def enrolling(token: EnrollmentToken, authority: bytes | None) -> Identity:
        folder = tmp_path / os.urandom(4).hex()
        return await asyncio.to_thread(lambda: enroll(token, state_dir=folder, authority=authority))

    for token, authority in ((of_gateway, ca), (of_other, None)):
        with pytest.raises(EnrolmentRefused) as said:
            await enrolling(token, authority)
        assert said.value.code == Code.TOKEN_OTHER_KIND
    with pytest.raises(EnrolmentRefused, match="has a collector already"):
        await enrolling(of_county, ca)
    identity = await enrolling(of_gateway, None)  # neither token was used up
    await enrolling(of_other, ca)
    async with as_the_county(identity) as ask:  # a gateway is no collector
        said_of_it = msgspec.structs.replace(
            await scene.announcement(scene.hall), collector_id=identity.gateway_id
        )
        body = sign_announcement(said_of_it, identity.envelope_key)
        await refused(Code.FOREIGN_GATEWAY, ask.announce(scene.hall.id, body))
        await refused(Code.FOREIGN_GATEWAY, ask.send_batch(scene.hall.sent[0].body))


async def test_nothing_changes_when_what_was_forwarded_comes_again(scene: Scene) -> None:
    before = await books(scene.area.home, scene.hall, scene.annex)
    for sealed in (*scene.hall.sent, *scene.annex.sent):
        receipt = await scene.ask.send_batch(sealed.body, after=0)
        assert (receipt.already, receipt.digest) == (True, sealed.digest.hex())
    await scene.announce(await scene.announcement(scene.hall))
    assert await books(scene.area.home, scene.hall, scene.annex) == before
    assert await scene.refusals() == {}
