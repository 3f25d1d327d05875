"""When a certificate is renewed, and what becomes of renewals that fail."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_csr

from edge_agent.identity.folder import load_identity
from edge_agent.identity.keeper import RENEWED_FROM, RENEWED_TO, WARNED_FROM, CertificateKeeper
from edge_agent.tls import CollectorUnreachable
from models.errors import GatehouseError, NeedsAHuman
from models.protocol import NextKeyRequest
from models.reading import Event
from models.signing import key_bytes
from tests.support.clocks import VirtualClock
from tests.support.own_authority import LIFE, OwnAuthority

LIFE_S = LIFE.total_seconds()
DAY_S = 86_400.0


@dataclass
class Kept:
    """A keeper, in its own time."""

    clock: VirtualClock
    authority: OwnAuthority
    keeper: CertificateKeeper
    began_s: float
    told: list[Event] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of the first certificate's life is over."""
        return (self.clock.now_ms() / 1000 - self.began_s) / LIFE_S

    async def pass_s(self, seconds: float, until: Callable[["Kept"], bool] = lambda kept: False) -> None:
        """Let time pass in large steps while the keeper sleeps, and wait while it works."""
        end_s = self.clock.monotonic_s() + seconds
        while self.clock.monotonic_s() < end_s and not until(self):
            async with asyncio.timeout(20):
                wait_s = await self.clock.someone_sleeps()
            await self.clock.advance(max(wait_s, 1e-3))


@asynccontextmanager
async def keeping(tmp_path: Path, *, seed: int = 0, knows_time: bool = True) -> AsyncIterator[Kept]:
    clock = VirtualClock()
    authority = OwnAuthority(tmp_path, lambda: datetime.fromtimestamp(clock.now_ms() / 1000, UTC))
    identity = authority.enrol()
    told: list[Event] = []

    async def tell(event: Event) -> None:
        told.append(event)

    keeper = CertificateKeeper(
        identity,
        authority.way,
        name="main",
        clock=clock.clock,
        now_s=lambda: clock.now_ms() / 1000 if knows_time else None,
        tell=tell,
        rng=random.Random(seed),
    )
    kept = Kept(clock, authority, keeper, clock.now_ms() / 1000, told)
    task = asyncio.create_task(keeper.run())
    try:
        yield kept
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def asked_for(request: NextKeyRequest) -> bytes:
    return key_bytes(load_pem_x509_csr(request.csr_pem.encode()).public_key())


def kinds(kept: Kept) -> list[str]:
    return [event.kind for event in kept.told]


async def test_each_gateway_renews_at_a_time_of_its_own(tmp_path: Path) -> None:
    """Or gateways that were enrolled on one day would all come back on one day, year after year."""
    shares = []
    for seed in range(6):
        async with keeping(tmp_path / str(seed), seed=seed) as kept:
            await kept.pass_s(LIFE_S, until=lambda kept: bool(kept.authority.gone_on_with))
            shares.append(kept.share)
    assert RENEWED_FROM - 0.05 <= min(shares) < max(shares) <= RENEWED_TO + 0.01
    assert max(shares) - min(shares) > 0.03


async def test_each_renewal_is_for_a_fresh_key_and_the_old_one_is_gone(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        first = kept.keeper.identity
        await kept.pass_s(5 * LIFE_S, until=lambda kept: len(kept.authority.gone_on_with) == 3)
        keys = [identity.signing_key.private_bytes_raw() for identity in kept.authority.gone_on_with]
        assert len({*keys, first.signing_key.private_bytes_raw()}) == 4
        assert load_identity(tmp_path).signing_key.private_bytes_raw() == keys[-1]
        assert sorted(path.name for path in first.folder.iterdir()) == [
            "ca.der",
            "collector.json",
            "gateway.pem",
            "seal.key",
        ]
        assert kinds(kept) == ["certificate.renewed"] * 3


async def test_a_failed_renewal_is_tried_again_with_the_same_key(tmp_path: Path) -> None:
    """The collector may have certified it, and only its answer got lost."""
    async with keeping(tmp_path) as kept:
        kept.authority.errors = [CollectorUnreachable("https://c", "no route") for _ in range(5)]
        await kept.pass_s(LIFE_S, until=lambda kept: bool(kept.authority.gone_on_with))
        keys = {asked_for(request) for request in kept.authority.asked}
        assert (len(kept.authority.asked), len(keys)) == (6, 1)
        assert kept.share < RENEWED_TO + 0.05
        assert kept.keeper.state.problem == ""


class Never(list[GatehouseError]):
    """Errors without an end."""

    def __init__(self, error: GatehouseError) -> None:
        super().__init__([error])

    def pop(self, _index: object = 0) -> GatehouseError:
        return self[0]


@pytest.mark.parametrize("error", [CollectorUnreachable("https://c", "no route"), NeedsAHuman("refused")])
async def test_people_are_warned_while_there_is_still_time(tmp_path: Path, error: GatehouseError) -> None:
    async with keeping(tmp_path) as kept:
        kept.authority.errors = Never(error)
        await kept.pass_s(LIFE_S, until=lambda kept: kept.share > WARNED_FROM - 0.06)
        early = (kinds(kept), kept.keeper.state.problem, kept.keeper.state.needs_a_human)
        assert early == ([], f"the certificate cannot be renewed yet: {error}", False)
        await kept.pass_s(LIFE_S, until=lambda kept: bool(kept.told))
        assert WARNED_FROM - 0.05 <= kept.share < 0.95
        assert kept.keeper.state.needs_a_human
        assert str(error) in kept.keeper.state.problem
        await kept.pass_s(LIFE_S, until=lambda kept: len(kept.told) == 2)
        assert kinds(kept) == ["certificate.ending", "certificate.ended"]


async def test_a_certificate_that_is_of_no_use_is_thrown_away_with_its_key(tmp_path: Path) -> None:
    """Such as the answer to a question of long ago, which its collector kept."""
    async with keeping(tmp_path) as kept:
        kept.authority.certified_ago = 2 * LIFE
        await kept.pass_s(LIFE_S, until=lambda kept: len(kept.authority.asked) == 2)
        kept.authority.certified_ago = timedelta()
        await kept.pass_s(LIFE_S, until=lambda kept: bool(kept.authority.gone_on_with))
        keys = {asked_for(request) for request in kept.authority.asked}
        assert len(keys) == len(kept.authority.asked) >= 3


async def test_nothing_is_decided_while_the_time_is_unknown(tmp_path: Path) -> None:
    async with keeping(tmp_path, knows_time=False) as kept:
        await kept.pass_s(3 * LIFE_S)
        assert (kept.authority.asked, kept.told) == ([], [])


async def test_a_certificate_that_the_collector_has_not_accepted_yet_is_shown_again_and_not_asked_for_again(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as kept:
        kept.authority.refuses_to_be_shown = 2
        present = kept.keeper.identity.certificate
        await kept.pass_s(LIFE_S, until=lambda kept: len(kept.authority.shown) == 2)
        assert load_identity(tmp_path).certificate == present  # it stays in force
        await kept.pass_s(LIFE_S, until=lambda kept: bool(kept.authority.gone_on_with))
        assert (len(kept.authority.asked), len(kept.authority.shown)) == (1, 3)
        assert load_identity(tmp_path).certificate == kept.authority.shown[0].certificate
