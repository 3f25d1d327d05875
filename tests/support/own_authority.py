"""An identity at a collector that is no more than an authority: what it certifies and answers a test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from collector.identity.ca import CertificateAuthority, GatewayRequest
from edge_agent.files import write_durably
from edge_agent.identity import folder
from edge_agent.identity.certificates import request_pem
from edge_agent.identity.folder import Collector, Identity
from edge_agent.identity.keeper import Way
from edge_agent.identity.lock import TokenPlace, new_lock
from edge_agent.tls import CollectorUnreachable
from models.errors import GatehouseError
from models.protocol import NextKeyRequest, ReturnResponse

LIFE = timedelta(hours=10)


@dataclass
class OwnAuthority:
    """`errors` are raised, one for each question, before anything is certified again."""

    state_dir: Path
    now: Callable[[], datetime]
    authority: CertificateAuthority = field(init=False)
    errors: list[GatehouseError] = field(default_factory=list)
    asked: list[NextKeyRequest] = field(default_factory=list)
    shown: list[Identity] = field(default_factory=list)
    gone_on_with: list[Identity] = field(default_factory=list)
    certified_ago: timedelta = timedelta()
    is_approved: bool = False
    refuses_to_be_shown: int = 0  # so often
    key_token: TokenPlace | None = None

    def __post_init__(self) -> None:
        self.authority = CertificateAuthority.create(self.now())

    @property
    def way(self) -> Way:
        return Way(self.renew, self.ask_to_return, self.show)

    def certificate_pem(self, csr_pem: str, gateway_id: str = "gw-1") -> str:
        request = GatewayRequest.parse(csr_pem)
        certificate = self.authority.certify_gateway(
            request.public_key, gateway_id, self.now() - self.certified_ago, LIFE
        )
        return certificate.public_bytes(Encoding.PEM).decode()

    def enrol(self, name: str = folder.MAIN) -> Identity:
        key = Ed25519PrivateKey.generate()
        fresh = folder.new_folder(folder.identity_folder(self.state_dir, name))
        lock = new_lock(fresh, self.key_token)
        seal_key = lock.closed(X25519PrivateKey.generate().private_bytes_raw())
        write_durably(fresh / folder.SEAL_KEY, seal_key, mode=0o600)
        folder.save_identity(
            fresh,
            key=key,
            collector=Collector(
                url="https://collector.test",
                gateway_id="gw-1",
                site_code="a1",
                collector_key=b"",
                command_key=b"",
                suite="standard",
            ),
            certificate_pem=self.certificate_pem(request_pem(key)).encode(),
            ca_der=self.authority.certificate_der(),
            lock=lock,
        )
        return folder.load_identity(self.state_dir, name)

    async def renew(self, request: NextKeyRequest) -> str:
        self.asked.append(request)
        if self.errors:
            raise self.errors.pop(0)
        return self.certificate_pem(request.csr_pem)

    async def ask_to_return(self, request: NextKeyRequest) -> ReturnResponse:
        self.asked.append(request)
        if self.errors:
            raise self.errors.pop(0)
        if not self.is_approved:
            return ReturnResponse(state="waiting", code="")
        return ReturnResponse(
            state="approved", code="", certificate_pem=self.certificate_pem(request.csr_pem)
        )

    @asynccontextmanager
    async def show(self, identity: Identity) -> AsyncIterator[Callable[[Identity], None]]:
        self.shown.append(identity)
        if self.refuses_to_be_shown:
            self.refuses_to_be_shown -= 1
            raise CollectorUnreachable("https://collector.test", "no route")
        yield self.gone_on_with.append
