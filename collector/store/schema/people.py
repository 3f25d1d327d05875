"""Tables of who is told of what, and who may ask."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text, text

from collector.store.schema.columns import Json, metadata, ms

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
    ms("opened_ms"),  # event time: when the condition began to hold
    Column("acknowledged_by", Text, nullable=True),
    ms("acknowledged_ms", nullable=True),
    ms("resolved_ms", nullable=True),
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
    ms("at_ms"),
    sqlite_autoincrement=True,
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
    ms("next_try_ms"),
    Column("last_error", Text, nullable=True),
    ms("created_ms"),
    ms("sent_ms", nullable=True),
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),  # ["read", "alerts:write"]
    Column("sites", Json, nullable=True),  # site codes it may see; NULL: all
    ms("created_ms"),
    ms("expires_ms"),
    ms("revoked_ms", nullable=True),
)
