"""Tables of who may send: sites, gateways with their keys, tokens, and what was refused."""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from collector.store.schema.columns import BigInt, metadata, ms

site = Table(
    "site",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False, server_default="Asia/Shanghai"),
    Column("suite", Text, nullable=False, server_default="standard"),  # by which gateways are to seal
)

gateway = Table(
    "gateway",
    metadata,
    Column("id", Text, primary_key=True),  # "gw-" + 12 hex digits, minted at enrolment
    Column("site_id", Integer, ForeignKey("site.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),  # active | revoked
    Column("kind", Text, nullable=False, server_default="gateway"),  # gateway | collector, which forwards
    Column("owner_site_id", Integer, ForeignKey("site.id"), nullable=True),  # whose collector forwards for it
    Column("authority", LargeBinary, nullable=True),  # DER of the CA of a collector that forwards
    Column("suite", Text, nullable=False, server_default="standard"),  # standard | gm, from its enrolment on
    Column("sm2_key", LargeBinary, nullable=True),  # 65 bytes: signs envelopes in suite gm
    Column(
        "seal_key", LargeBinary, nullable=False
    ),  # X25519, 32 bytes: secrets in commands; b"" if forwarded
    ms("enrolled_ms"),
    ms("revoked_ms", nullable=True),
    ms("last_seen_ms", nullable=True),  # collector's clock at the last accepted batch
    Column("clock_skew_ms", BigInt, nullable=True),  # gateway minus collector, at the last batch
    Index(
        "uq_gateway_collector_of_site",
        "site_id",
        unique=True,
        sqlite_where=text("kind = 'collector' AND state = 'active'"),
        postgresql_where=text("kind = 'collector' AND state = 'active'"),
    ),
)

gateway_key = Table(
    "gateway_key",
    metadata,
    Column("gateway_id", Text, ForeignKey("gateway.id"), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1; the newest is the greatest
    Column("public_key", LargeBinary, nullable=False),  # models.signing: signs envelopes and is certified
    Column("certificate", LargeBinary, nullable=False),  # DER, as it was issued
    ms("issued_ms"),
    ms("ends_ms"),  # what came under it later is still its own: envelopes may have waited
    ms("used_ms", nullable=True),  # when it first proved itself
    Column("old_key", LargeBinary, nullable=True),  # which has vouched for it; NULL for the first
    Column("proof", LargeBinary, nullable=True),  # its signature over models.protocol.next_key_statement
    UniqueConstraint("gateway_id", "public_key"),
    comment="keys of gateways; what each has signed stays traceable",
)

gateway_return = Table(
    "gateway_return",
    metadata,
    Column("gateway_id", Text, ForeignKey("gateway.id"), primary_key=True),  # one open question each
    Column("code", Text, nullable=False),  # models.signing.key_code of the new key
    Column("public_key", LargeBinary, nullable=False),  # the new one
    Column("state", Text, nullable=False),  # waiting | approved | rejected
    ms("asked_ms"),
    ms("last_asked_ms"),
    comment="gateways whose certificate has ended and who ask to be taken back",
)

gateway_change = Table(
    "gateway_change",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("site_id", Integer, nullable=False),
    Column("gateway_id", Text, nullable=False),
    Column("change", Text, nullable=False),  # enrolled | renewed | revoked | asked | approved | rejected | …
    Column("by", Text, nullable=False),  # a token's name, who was at the command line, or the gateway's id
    Column("detail", Text, nullable=False, server_default=""),
    ms("at_ms"),
    Index("ix_gateway_change_gateway_id", "gateway_id", "id"),
    sqlite_autoincrement=True,
    comment="who admitted, certified, refused or revoked which gateway; rows are only ever added",
)

enrollment_token = Table(
    "enrollment_token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("site_id", Integer, ForeignKey("site.id"), nullable=False),
    Column("gateway_name", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default="gateway"),  # of what it admits, as gateway.kind
    ms("created_ms"),
    ms("expires_ms"),
    ms("used_ms", nullable=True),
    Column("used_by", Text, nullable=True),
)

refusal = Table(
    "refusal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gateway_id", Text, nullable=False),  # "" when even that could not be read
    Column("code", Text, nullable=False),  # the problem type that was answered
    Column("detail", Text, nullable=False),
    Column("count", Integer, nullable=False, server_default="1"),
    ms("first_ms"),
    ms("last_ms"),
    ms("episode_ms"),  # since when it has come without a time of quiet
    Column("episode_count", Integer, nullable=False),
    UniqueConstraint("gateway_id", "code"),
)
