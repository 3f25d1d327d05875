"""Tables of what was in the envelopes, and of what is computed from it."""

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, Table, Text, UniqueConstraint

from collector.store.schema.columns import BigInt, Flag, Json, Real, metadata, ms

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
    ms("described_ms", nullable=True),  # time of the description above; an older one changes nothing
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
    ms("received_ms"),
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
    ms("received_ms"),
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
    ms("quarantined_ms"),
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
    ms("measured_ms"),
    ms("received_ms"),
    Index("ix_event_site_id_measured_ms", "site_id", "measured_ms"),
    Index("ix_event_of_device", "site_id", "gateway_id", "device_id", "measured_ms"),
)

latest = Table(
    "latest",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    ms("measured_ms"),
    ms("received_ms"),
    Column("value", Real, nullable=True),
    Column("quality", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    ms("stored_ms"),
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
    ms("computed_ms"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

unscored = Table(
    "unscored",
    metadata,
    Column("site_id", Integer, primary_key=True),
    Column("point_id", Integer, primary_key=True),
    ms("from_ms"),  # the first of its hours that changed
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
    ms("start_ms"),
    ms("end_ms"),
    Column("score", Real, nullable=False),
    Column("data", Json, nullable=False),  # expected, seen, excess, unit, model version, texts
    ms("found_ms"),
    UniqueConstraint("site_id", "detector", "subject", "start_ms"),
)
