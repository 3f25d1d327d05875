"""Tables of commands and configurations for gateways."""

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from collector.store.schema.columns import BigInt, Json, Real, metadata, ms

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
    ms("issued_ms"),
    ms("expires_ms"),
    Column("state", Text, nullable=False),  # waiting | sent | done | refused | failed | expired
    Column("outcome", Json, nullable=False),  # what the gateway said of it; {} until then
    ms("changed_ms"),
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
    ms("at_ms"),
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
    ms("issued_ms"),
    ms("expires_ms"),
    Column("confirm_s", Real, nullable=False),
    Column("state", Text, nullable=False),  # waiting | sent | tried | expired | refused | reverted | applied
    Column("outcome", Json, nullable=False),  # what the gateway said of it; {} until then
    ms("changed_ms"),
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
    ms("at_ms"),
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
    ms("active_ms"),  # the gateway's clock
    Column("packed", LargeBinary, nullable=True),  # its files; NULL when they were too much to tell
    UniqueConstraint("site_id", "gateway_id", "version", "digest"),
    comment="what was active at gateways, as they told",
)
