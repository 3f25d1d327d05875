"""Every table of the collector, once, for all databases.

The key of each table that grows with the readings begins with `site_id`, so that one batch touches one
site's rows only and a distributed database can keep a site together. All times are milliseconds since
1970, UTC.
"""

from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A STRICT table of SQLite knows INTEGER, REAL, TEXT and BLOB only.
BigInt = BigInteger().with_variant(Integer(), "sqlite")
Real: Double[float] = Double().with_variant(REAL(), "sqlite")
Flag = Boolean().with_variant(Integer(), "sqlite")
Json = JSON


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInt, nullable=nullable)


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
    _ms("enrolled_ms"),
    _ms("revoked_ms", nullable=True),
    _ms("last_seen_ms", nullable=True),  # collector's clock at the last accepted batch
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
    _ms("issued_ms"),
    _ms("ends_ms"),  # what came under it later is still its own: envelopes may have waited
    _ms("used_ms", nullable=True),  # when it first proved itself
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
    _ms("asked_ms"),
    _ms("last_asked_ms"),
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
    _ms("at_ms"),
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
    _ms("created_ms"),
    _ms("expires_ms"),
    _ms("used_ms", nullable=True),
    Column("used_by", Text, nullable=True),
)

content_key = Table(
    "content_key",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("gateway_id", Text, primary_key=True),
    Column("key_id", LargeBinary, primary_key=True),
    Column("package", LargeBinary, nullable=False),  # as the gateway signed it; opened on use
    _ms("received_ms"),
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
    _ms("received_ms"),
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
    _ms("since_ms"),  # what came before is not shared
    comment="what the settings let be forwarded, and from when on",
)

forward_gateway = Table(
    "forward_gateway",
    metadata,
    Column("upstream", Text, primary_key=True),
    Column("gateway_id", Text, ForeignKey("gateway.id"), primary_key=True),
    _ms("since_ms"),
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
    _ms("sent_ms", nullable=True),  # when the receipt came; NULL: to be sent
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

device = Table(
    "device",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Integer, primary_key=True),  # counted per site
    Column("gateway_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),  # as the gateway's configuration names it
    Column("name", Text, nullable=False),
    Column("profile", Text, nullable=False, server_default=""),  # "" until the gateway has described it
    Column("profile_version", Text, nullable=False, server_default=""),
    Column("period_s", Real, nullable=True),
    Column(
        "unauthenticated", Flag, nullable=False, server_default="0"
    ),  # nothing proves who sends its values
    _ms("described_ms", nullable=True),  # time of the description above; an older one changes nothing
    UniqueConstraint("site_id", "gateway_id", "device_id"),
)

point = Table(
    "point",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Integer, primary_key=True),  # counted per site
    Column("device", Integer, nullable=False),  # device.id
    Column("name", Text, nullable=False),
    Column("unit", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False, server_default="gauge"),  # gauge | counter | state
    Column("item_code", Text, nullable=True),
    Column("decimals", Integer, nullable=False, server_default="3"),
    Column("modulus", Real, nullable=True),
    Column("max_rate_per_h", Real, nullable=True),
    UniqueConstraint("site_id", "device", "name"),
    ForeignKeyConstraint(["site_id", "device"], ["device.site_id", "device.id"]),
)

reading = Table(
    "reading",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    Column("measured_ms", BigInt, primary_key=True),
    _ms("received_ms"),
    Column("value", Real, nullable=True),
    Column("quality", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("epoch_id", Integer, nullable=False),  # with seq: names the envelope that brought it
    Column("seq", BigInt, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

reading_revision = Table(
    "reading_revision",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    Column("measured_ms", BigInt, primary_key=True),
    Column("epoch_id", Integer, primary_key=True),
    Column("seq", BigInt, primary_key=True),
    _ms("received_ms"),
    Column("value", Real, nullable=True),
    Column("quality", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
    comment="another value for a point and time that reading already holds",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("epoch_id", Integer, primary_key=True),
    Column("seq", BigInt, primary_key=True),
    Column("item", Json, nullable=False),
    Column("reason", Text, nullable=False),
    _ms("quarantined_ms"),
)

event = Table(
    "event",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("epoch_id", Integer, primary_key=True),
    Column("seq", BigInt, primary_key=True),
    Column("gateway_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),  # as the gateway's configuration names it
    Column("kind", Text, nullable=False),
    Column("data", Json, nullable=False),
    _ms("measured_ms"),
    _ms("received_ms"),
    Index("ix_event_site_id_measured_ms", "site_id", "measured_ms"),
    Index("ix_event_of_device", "site_id", "gateway_id", "device_id", "measured_ms"),
)

latest = Table(
    "latest",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    _ms("measured_ms"),
    _ms("received_ms"),
    Column("value", Real, nullable=True),
    Column("quality", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    _ms("stored_ms"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

dirty_hour = Table(
    "dirty_hour",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    Column("hour_ms", BigInt, primary_key=True),
    Column(
        "marked_no", BigInt, nullable=False
    ),  # changes with each mark, so that a job clears only what it saw
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

consumption_hour = Table(
    "consumption_hour",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    Column("hour_ms", BigInt, primary_key=True),
    Column("value", Real, nullable=True),  # NULL exactly when state is missing
    Column("coverage", Real, nullable=False),  # 0 to 1: the share of the hour between usable readings
    Column("state", Text, nullable=False),  # measured | estimated | suspect | missing
    _ms("computed_ms"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

unscored = Table(
    "unscored",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    _ms("from_ms"),  # the first of its hours that changed
    Column("marked_no", BigInt, nullable=False),  # as in dirty_hour
    sqlite_with_rowid=False,
    sqlite_strict=True,
    comment="counters whose hours changed since the detectors looked at them",
)

finding = Table(
    "finding",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Integer, primary_key=True),  # counted per site
    Column("detector", Text, nullable=False),
    Column("subject", Text, nullable=False),  # "point:12", "gateway:gw-…"
    _ms("start_ms"),
    _ms("end_ms"),
    Column("score", Real, nullable=False),
    Column("data", Json, nullable=False),  # expected, seen, excess, unit, model version, texts
    _ms("found_ms"),
    UniqueConstraint("site_id", "detector", "subject", "start_ms"),
)

alert = Table(
    "alert",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Integer, primary_key=True),  # counted per site
    Column("condition", Text, nullable=False),  # "stuck:point:12": one open alert for each
    Column("detector", Text, nullable=False),
    Column("state", Text, nullable=False),  # firing | acknowledged | resolved
    Column("severity", Text, nullable=False),  # warning | critical
    Column("data", Json, nullable=False),  # title and text in zh and en, excess, since, subject
    _ms("opened_ms"),  # event time: when the condition began to hold
    Column("acknowledged_by", Text, nullable=True),
    _ms("acknowledged_ms", nullable=True),
    _ms("resolved_ms", nullable=True),
    Column("resolved_by", Text, nullable=True),  # a person's token name, or "recovered"
    Index(
        "uq_alert_open_condition",
        "site_id",
        "condition",
        unique=True,
        sqlite_where=text("state IN ('firing', 'acknowledged')"),
        postgresql_where=text("state IN ('firing', 'acknowledged')"),
    ),
)

alert_change = Table(
    "alert_change",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # the cursor of the event stream
    Column("site_id", Integer, nullable=False),
    Column("alert_id", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("by", Text, nullable=False),
    _ms("at_ms"),
    sqlite_autoincrement=True,
)

command = Table(
    "command",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Text, primary_key=True),  # the idempotency key
    Column("number", BigInt, nullable=False),  # counted per site: the order in which they were given
    Column("origin", Text, nullable=False),  # collector | on-site
    Column("gateway_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),  # as the gateway's configuration names it
    Column("action", Text, nullable=False),
    Column("arguments", Json, nullable=False),  # as they may be shown: without secrets
    Column("issued_by", Text, nullable=False),
    _ms("issued_ms"),
    _ms("expires_ms"),
    Column("state", Text, nullable=False),  # waiting | sent | done | refused | failed | expired
    Column("outcome", Json, nullable=False),  # what the gateway said of it; {} until then
    _ms("changed_ms"),
    Column("request_digest", LargeBinary, nullable=True),  # keyed: tells the same request sent again
    Column("signed", LargeBinary, nullable=True),  # as gateways get it; NULL when given on site
    UniqueConstraint("site_id", "number"),
    Index("ix_command_site_id_device_id", "site_id", "device_id", "number"),
    Index(
        "ix_command_open",
        "gateway_id",
        "number",
        sqlite_where=text("state IN ('waiting', 'sent')"),
        postgresql_where=text("state IN ('waiting', 'sent')"),
    ),
)

command_change = Table(
    "command_change",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("command_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1; rows are only ever added
    Column("state", Text, nullable=False),
    Column("by", Text, nullable=False),  # who gave it, a gateway's id, or "collector"
    Column("detail", Text, nullable=False, server_default=""),
    _ms("at_ms"),
    ForeignKeyConstraint(["site_id", "command_id"], ["command.site_id", "command.id"]),
)

configuration = Table(
    "configuration",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("id", Text, primary_key=True),  # the idempotency key
    Column("gateway_id", Text, nullable=False),
    Column("number", BigInt, nullable=False),  # signed: a gateway takes none below one that it knows
    Column("base", Text, nullable=False),  # digest of what it is a change of; "" whatever the gateway has
    Column("packed", LargeBinary, nullable=False),  # its files
    Column("why", Text, nullable=False),
    Column("issued_by", Text, nullable=False),
    _ms("issued_ms"),
    _ms("expires_ms"),
    Column("confirm_s", Real, nullable=False),
    Column("state", Text, nullable=False),  # waiting | sent | tried | expired | refused | reverted | applied
    Column("outcome", Json, nullable=False),  # what the gateway said of it; {} until then
    _ms("changed_ms"),
    Column("request_digest", LargeBinary, nullable=False),  # keyed: tells the same request sent again
    Column("signed", LargeBinary, nullable=False),  # as the gateway gets it
    UniqueConstraint("gateway_id", "number"),
    Index(
        "ix_configuration_open",
        "gateway_id",
        "number",
        sqlite_where=text("state IN ('waiting', 'sent', 'tried')"),
        postgresql_where=text("state IN ('waiting', 'sent', 'tried')"),
    ),
    comment="what was pushed to gateways",
)

configuration_change = Table(
    "configuration_change",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("configuration_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1; rows are only ever added
    Column("state", Text, nullable=False),
    Column("by", Text, nullable=False),  # who pushed it, a gateway's id, or "collector"
    Column("detail", Text, nullable=False, server_default=""),
    _ms("at_ms"),
    ForeignKeyConstraint(["site_id", "configuration_id"], ["configuration.site_id", "configuration.id"]),
)

active_configuration = Table(
    "active_configuration",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("gateway_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),  # counted here: the order in which they were told
    Column("version", Integer, nullable=False),  # in the gateway's own history
    Column("digest", Text, nullable=False),
    Column("origin", Text, nullable=False),  # on-site | collector | gateway
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("push_id", Text, nullable=False),  # configuration.id; "" for none
    _ms("active_ms"),  # the gateway's clock
    Column("packed", LargeBinary, nullable=True),  # its files; NULL when they were too much to tell
    UniqueConstraint("site_id", "gateway_id", "version", "digest"),
    comment="what was active at gateways, as they told",
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("site_id", Integer, nullable=False),
    Column("alert_id", Integer, nullable=False),
    Column("receiver", Text, nullable=False),  # name of the receiver in the settings
    Column("message", Json, nullable=False),
    Column("state", Text, nullable=False),  # waiting | sent | dead
    Column("tries", Integer, nullable=False, server_default="0"),
    _ms("next_try_ms"),
    Column("last_error", Text, nullable=True),
    _ms("created_ms"),
    _ms("sent_ms", nullable=True),
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),  # ["read", "alerts:write"]
    Column("sites", Json, nullable=True),  # site codes it may see; NULL: all
    _ms("created_ms"),
    _ms("expires_ms"),
    _ms("revoked_ms", nullable=True),
)

refusal = Table(
    "refusal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gateway_id", Text, nullable=False),  # "" when even that could not be read
    Column("code", Text, nullable=False),  # the problem type that was answered
    Column("detail", Text, nullable=False),
    Column("count", Integer, nullable=False, server_default="1"),
    _ms("first_ms"),
    _ms("last_ms"),
    _ms("episode_ms"),  # since when it has come without a time of quiet
    Column("episode_count", Integer, nullable=False),
    UniqueConstraint("gateway_id", "code"),
)
