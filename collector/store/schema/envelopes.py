"""Tables of what gateways have sent, as they sealed it, and of what goes on to a higher collector."""

from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from collector.store.schema.columns import BigInt, Flag, metadata, ms

content_key = Table(
    "content_key",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("gateway_id", Text, primary_key=True),
    Column("key_id", LargeBinary, primary_key=True),
    Column("package", LargeBinary, nullable=False),  # as the gateway signed it; opened on use
    ms("received_ms"),
)

epoch = Table(
    "epoch",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Integer, primary_key=True),  # small number that readings refer to; counted per site
    Column("gateway_id", Text, nullable=False),
    Column("epoch", LargeBinary, nullable=False),  # 16 bytes, minted by the gateway's store
    Column(
        "high_water", BigInt, nullable=False, server_default="0"
    ),  # all sequence numbers up to here are stored
    Column("top_seq", BigInt, nullable=False, server_default="0"),  # the greatest that is stored
    UniqueConstraint("site_id", "gateway_id", "epoch"),
    sqlite_strict=True,
)

sequence_gap = Table(
    "sequence_gap",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("epoch_id", Integer, primary_key=True),
    Column("first_seq", BigInt, primary_key=True),
    Column("last_seq", BigInt, nullable=False),
    Column("lost", Flag, nullable=False),  # the gateway has reported that it no longer has them
    ForeignKeyConstraint(["site_id", "epoch_id"], ["epoch.site_id", "epoch.id"]),
    sqlite_with_rowid=False,
    sqlite_strict=True,
    comment="sequence numbers below epoch.top_seq that are not stored yet",
)

envelope = Table(
    "envelope",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("epoch_id", Integer, primary_key=True),
    Column("number", BigInt, primary_key=True),
    Column("first_seq", BigInt, nullable=False),
    Column("last_seq", BigInt, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    ms("received_ms"),
    ForeignKeyConstraint(["site_id", "epoch_id"], ["epoch.site_id", "epoch.id"]),
    # From a reading back to the envelope that brought it.
    Index("ix_envelope_site_id_last_seq", "site_id", "epoch_id", "last_seq"),
    sqlite_strict=True,
)

forward_rule = Table(
    "forward_rule",
    metadata,
    Column("upstream", Text, primary_key=True),  # the higher collector, by the digest of its CA
    Column("rule", Text, primary_key=True),  # "site:hall", "gateway:gw-…", as the settings name them
    ms("since_ms"),  # what came before is not shared
    comment="what the settings let be forwarded, and from when on",
)

forward_gateway = Table(
    "forward_gateway",
    metadata,
    Column("upstream", Text, primary_key=True),
    Column("gateway_id", Text, ForeignKey("gateway.id"), primary_key=True),
    ms("since_ms"),
    Column("announced", LargeBinary, nullable=True),  # digest of what the higher collector was told last
    comment="gateways that are shared now: whatever comes of them is to be forwarded",
)

forward = Table(
    "forward",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # the order in which they came to be shared
    Column("upstream", Text, nullable=False),
    Column("site_id", Integer, nullable=False),
    Column("epoch_id", Integer, nullable=False),
    Column("number", BigInt, nullable=False),
    Column("gateway_id", Text, nullable=False),
    ms("sent_ms", nullable=True),  # when the receipt came; NULL: to be sent
    Column("refused", Text, nullable=True),  # why the higher collector does not take it
    UniqueConstraint("upstream", "site_id", "epoch_id", "number"),
    ForeignKeyConstraint(
        ["site_id", "epoch_id", "number"], ["envelope.site_id", "envelope.epoch_id", "envelope.number"]
    ),
    Index(
        "ix_forward_due",
        "upstream",
        "id",
        sqlite_where=text("sent_ms IS NULL AND refused IS NULL"),
        postgresql_where=text("sent_ms IS NULL AND refused IS NULL"),
    ),
    Index(
        "ix_forward_sent",
        "upstream",
        "sent_ms",
        sqlite_where=text("sent_ms IS NOT NULL"),
        postgresql_where=text("sent_ms IS NOT NULL"),
    ),
    Index(
        "ix_forward_refused",
        "upstream",
        "gateway_id",
        sqlite_where=text("refused IS NOT NULL"),
        postgresql_where=text("refused IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
    comment="which envelopes a higher collector was, or is to be, given",
)
