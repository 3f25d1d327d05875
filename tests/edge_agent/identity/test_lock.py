"""With a token the keys of a gateway open nowhere else; all that it does, it does as without one."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from collector.store.engine import Store
from collector.store.schema import envelope
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.identity.certificates import next_key_request
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import GATEWAY, SEAL_KEY, IdentityLocked, load_identity
from edge_agent.identity.lock import TOKEN, TokenPlace, TokenUnusable, lock_of, new_lock
from edge_agent.identity.next_key import NEXT, NEXT_KEY, adopt, keep_certificate, next_key
from edge_agent.secret_files import SecretUnusable
from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.delivery import Pace, Uplink
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.sealer import Sender
from models.protocol import EnrollRequest
from tests.support.clocks import VirtualClock
from tests.support.https import Collector, but_lost
from tests.support.items import readings
from tests.support.needs import needs_softhsm
from tests.support.own_authority import OwnAuthority
from tests.support.running import new_home, running
from tests.support.soft_token import make_token

pytestmark = needs_softhsm


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> TokenPlace:
    return make_token(tmp_path_factory.mktemp("token"))


def test_what_is_locked_is_locked_alike_by_the_same_token_alone(place: TokenPlace, tmp_path: Path) -> None:
    lock = new_lock(tmp_path, place)
    again = lock_of(tmp_path)
    (tmp_path / "other").mkdir()
    other = new_lock(tmp_path / "other", place)
    closed = lock.closed(b"a secret")
    assert again.opened(closed) == b"a secret"
    assert b"secret" not in closed
    assert lock.closed(b"a secret") != closed
    for wrong in (closed[:-1], b"", closed[:12]):
        with pytest.raises(ValueError, match="not locked"):
            again.opened(wrong)
    with pytest.raises(ValueError, match="not locked"):
        other.opened(closed)
    assert lock.password is not None
    assert lock.password == again.password != other.password
    assert lock.password.decode() not in repr(lock)


async def test_a_gateway_with_a_token_enrols_sends_and_renews(
    place: TokenPlace, tmp_path: Path, buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    home = await new_home(tmp_path / "collector")
    async with running(home, clock.clock) as collector:
        token = await collector.enrollment_token()
        identity = await asyncio.to_thread(enroll, token, state_dir=tmp_path / "state", key_token=place)
        pem = await asyncio.to_thread((identity.folder / GATEWAY).read_bytes)
        assert b"ENCRYPTED PRIVATE KEY" in pem
        with pytest.raises(TypeError):
            load_pem_private_key(pem, None)
        await buffer.append(readings(3))
        carrier = HttpsCarrier(identity)
        try:
            questions = Questions(carrier, identity, clock.now_ms)
            sender = Sender.of(identity)
            outbox = await buffer.outbox("main")
            uplink = Uplink(
                buffer,
                outbox,
                questions,
                sender,
                clock=clock.clock,
                pace=Pace(live_every_s=10, max_items=100),
            )
            await uplink.flush()
            assert uplink.state.problem == ""
            request = next_key_request(identity.gateway_id, identity.signing_key, next_key(identity))
            following = keep_certificate(identity, await questions.renew(request))
        finally:
            await carrier.close()
        for name in (NEXT, NEXT_KEY):
            assert b"ENCRYPTED" in await asyncio.to_thread((identity.folder / name).read_bytes)
        adopted = adopt(identity, following)
        carrier = HttpsCarrier(adopted)
        try:
            await Questions(carrier, adopted, clock.now_ms).ask_time()
        finally:
            await carrier.close()
        assert load_identity(tmp_path / "state").certificate == following.certificate
        async with await Store.open(home.database) as store, store.read() as connection:
            assert len((await connection.execute(envelope.select())).all()) == 1


async def test_an_enrolment_that_lost_its_answer_goes_on_with_its_locked_keys(
    place: TokenPlace, tmp_path: Path
) -> None:
    async with Collector().serve() as collector:
        collector.script.append(but_lost)
        with pytest.raises(CollectorUnreachable):
            await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path, key_token=place)
        await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path, key_token=place)
        first, second = (EnrollRequest.model_validate_json(asked.body) for asked in collector.requests)
        assert (first.csr_pem, first.seal_key) == (second.csr_pem, second.seal_key)
        assert load_identity(tmp_path).lock.password is not None


def locked(place: TokenPlace, tmp_path: Path) -> Path:
    """The folder of an identity whose keys the token locks."""
    authority = OwnAuthority(tmp_path, lambda: datetime.now(UTC), key_token=place)
    return authority.enrol().folder


@pytest.mark.parametrize("field", ["module", "token", "pin_file"])
def test_without_token_or_pin_nothing_opens_and_the_message_says_what_is_missing(
    place: TokenPlace, tmp_path: Path, field: str
) -> None:
    folder = locked(place, tmp_path)
    written = msgspec.json.decode((folder / TOKEN).read_bytes())
    wrong_pin = tmp_path / "wrong-pin"
    wrong_pin.write_text("0000")
    wrong = {"module": "/nowhere/lib.so", "token": "another", "pin_file": str(wrong_pin)}[field]
    right = (folder / TOKEN).read_bytes()
    (folder / TOKEN).write_bytes(
        msgspec.json.encode({**written, "place": {**written["place"], field: wrong}})
    )
    with pytest.raises(IdentityLocked, match=r"stay locked.*(check that it is there|PIN)") as refused:
        load_identity(tmp_path)
    assert "0000" not in str(refused.value)
    (folder / TOKEN).write_bytes(right)
    load_identity(tmp_path)


def test_a_state_folder_that_was_copied_away_opens_nowhere(place: TokenPlace, tmp_path: Path) -> None:
    """Who has all its files, and not the token."""
    folder = locked(place, tmp_path)
    (folder / TOKEN).unlink()
    with pytest.raises(Exception, match="do not fit together"):
        load_identity(tmp_path)
    assert len((folder / SEAL_KEY).read_bytes()) > 32


def test_a_token_that_is_not_there_lets_nothing_be_enrolled(place: TokenPlace, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TokenUnusable, match="another"):
        new_lock(tmp_path / "folder", msgspec.structs.replace(place, token="another"))
    with pytest.raises(SecretUnusable, match="no-pin"):
        new_lock(tmp_path / "folder", msgspec.structs.replace(place, pin_file=str(tmp_path / "no-pin")))
    assert list((tmp_path / "folder").iterdir()) == []


def test_the_key_in_the_token_cannot_be_taken_out(place: TokenPlace, tmp_path: Path) -> None:
    import pkcs11

    new_lock(tmp_path, place)
    token = pkcs11.lib(place.module).get_token(token_label=place.token)
    with token.open(user_pin=Path(place.pin_file).read_text().strip()) as session:
        [key] = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
        assert (key[pkcs11.Attribute.EXTRACTABLE], key[pkcs11.Attribute.SENSITIVE]) == (False, True)
        with pytest.raises(pkcs11.PKCS11Error):
            key[pkcs11.Attribute.VALUE]
