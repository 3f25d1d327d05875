"""Create all tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real: sa.Double[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("opened_ms", BigInt, nullable=False),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_ms", BigInt, nullable=True),
        sa.Column("resolved_ms", BigInt, nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_alert")),
    )
    op.create_index(
        "uq_alert_open_condition",
        "alert",
        ["site_id", "condition"],
        unique=True,
        sqlite_where=sa.text("state IN ('firing', 'acknowledged')"),
        postgresql_where=sa.text("state IN ('firing', 'acknowledged')"),
    )

    op.create_table(
        "alert_change",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_change")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "gateway_change",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("at_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_change")),
        comment="who admitted, certified, refused or revoked which gateway; rows are only ever added",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_gateway_change_gateway_id", "gateway_change", ["gateway_id", "id"], unique=False)
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("sites", sa.JSON(), nullable=True),
        sa.Column("created_ms", BigInt, nullable=False),
        sa.Column("expires_ms", BigInt, nullable=False),
        sa.Column("revoked_ms", BigInt, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("name", name=op.f("uq_api_token_name")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_token_secret_hash")),
    )
    op.create_table(
        "command",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("issued_ms", BigInt, nullable=False),
        sa.Column("expires_ms", BigInt, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=False),
        sa.Column("changed_ms", BigInt, nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("signed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_command")),
        sa.UniqueConstraint("site_id", "number", name=op.f("uq_command_site_id_number")),
    )
    op.create_index("ix_command_site_id_device_id", "command", ["site_id", "device_id", "number"])
    op.create_index(
        "ix_command_open",
        "command",
        ["gateway_id", "number"],
        sqlite_where=sa.text("state IN ('waiting', 'sent')"),
        postgresql_where=sa.text("state IN ('waiting', 'sent')"),
    )

    op.create_table(
        "command_change",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("at_ms", BigInt, nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id", "command_id"],
            ["command.site_id", "command.id"],
            name=op.f("fk_command_change_site_id_command_id"),
        ),
        sa.PrimaryKeyConstraint("site_id", "command_id", "number", name=op.f("pk_command_change")),
    )
    op.create_table(
        "configuration",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("issued_ms", BigInt, nullable=False),
        sa.Column("expires_ms", BigInt, nullable=False),
        sa.Column("confirm_s", Real, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=False),
        sa.Column("changed_ms", BigInt, nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_configuration")),
        sa.UniqueConstraint("gateway_id", "number", name=op.f("uq_configuration_gateway_id_number")),
        comment="what was pushed to gateways",
    )
    op.create_index(
        "ix_configuration_open",
        "configuration",
        ["gateway_id", "number"],
        sqlite_where=sa.text("state IN ('waiting', 'sent', 'tried')"),
        postgresql_where=sa.text("state IN ('waiting', 'sent', 'tried')"),
    )
    op.create_table(
        "configuration_change",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("configuration_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("at_ms", BigInt, nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id", "configuration_id"],
            ["configuration.site_id", "configuration.id"],
            name=op.f("fk_configuration_change_site_id_configuration_id"),
        ),
        sa.PrimaryKeyConstraint(
            "site_id", "configuration_id", "number", name=op.f("pk_configuration_change")
        ),
    )
    op.create_table(
        "active_configuration",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("push_id", sa.Text(), nullable=False),
        sa.Column("active_ms", BigInt, nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("site_id", "gateway_id", "number", name=op.f("pk_active_configuration")),
        sa.UniqueConstraint(
            "site_id",
            "gateway_id",
            "version",
            "digest",
            name=op.f("uq_active_configuration_site_id_gateway_id_version_digest"),
        ),
        comment="what was active at gateways, as they told",
    )

    op.create_table(
        "consumption_hour",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("hour_ms", BigInt, nullable=False),
        sa.Column("value", Real, nullable=True),
        sa.Column("coverage", Real, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("computed_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "point_id", "hour_ms", name=op.f("pk_consumption_hour")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "content_key",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("package", sa.LargeBinary(), nullable=False),
        sa.Column("received_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "gateway_id", "key_id", name=op.f("pk_content_key")),
    )
    op.create_table(
        "device",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), server_default="", nullable=False),
        sa.Column("profile_version", sa.Text(), server_default="", nullable=False),
        sa.Column("period_s", Real, nullable=True),
        sa.Column(
            "unauthenticated",
            sa.Boolean().with_variant(sa.Integer(), "sqlite"),
            server_default="0",
            nullable=False,
        ),
        sa.Column("described_ms", BigInt, nullable=True),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_device")),
        sa.UniqueConstraint(
            "site_id", "gateway_id", "device_id", name=op.f("uq_device_site_id_gateway_id_device_id")
        ),
    )
    op.create_table(
        "dirty_hour",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("hour_ms", BigInt, nullable=False),
        sa.Column("marked_no", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "point_id", "hour_ms", name=op.f("pk_dirty_hour")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unscored",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("from_ms", BigInt, nullable=False),
        sa.Column("marked_no", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "point_id", name=op.f("pk_unscored")),
        comment="counters whose hours changed since the detectors looked at them",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "epoch",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.LargeBinary(), nullable=False),
        sa.Column("high_water", BigInt, server_default="0", nullable=False),
        sa.Column("top_seq", BigInt, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_epoch")),
        sa.UniqueConstraint("site_id", "gateway_id", "epoch", name=op.f("uq_epoch_site_id_gateway_id_epoch")),
        sqlite_strict=True,
    )
    op.create_table(
        "event",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("seq", BigInt, nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("measured_ms", BigInt, nullable=False),
        sa.Column("received_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "epoch_id", "seq", name=op.f("pk_event")),
    )
    op.create_index("ix_event_site_id_measured_ms", "event", ["site_id", "measured_ms"], unique=False)
    of_device = ["site_id", "gateway_id", "device_id", "measured_ms"]
    op.create_index("ix_event_of_device", "event", of_device, unique=False)

    op.create_table(
        "finding",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("start_ms", BigInt, nullable=False),
        sa.Column("end_ms", BigInt, nullable=False),
        sa.Column("score", Real, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("found_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_finding")),
        sa.UniqueConstraint(
            "site_id",
            "detector",
            "subject",
            "start_ms",
            name=op.f("uq_finding_site_id_detector_subject_start_ms"),
        ),
    )
    op.create_table(
        "latest",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("measured_ms", BigInt, nullable=False),
        sa.Column("received_ms", BigInt, nullable=False),
        sa.Column("value", Real, nullable=True),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("stored_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "point_id", name=op.f("pk_latest")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_ms", BigInt, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_ms", BigInt, nullable=False),
        sa.Column("sent_ms", BigInt, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_outbox_idempotency_key")),
    )
    op.create_table(
        "quarantine",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("seq", BigInt, nullable=False),
        sa.Column("item", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("quarantined_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "epoch_id", "seq", name=op.f("pk_quarantine")),
    )
    op.create_table(
        "reading",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("measured_ms", BigInt, nullable=False),
        sa.Column("received_ms", BigInt, nullable=False),
        sa.Column("value", Real, nullable=True),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("seq", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("site_id", "point_id", "measured_ms", name=op.f("pk_reading")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reading_revision",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("measured_ms", BigInt, nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("seq", BigInt, nullable=False),
        sa.Column("received_ms", BigInt, nullable=False),
        sa.Column("value", Real, nullable=True),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "site_id", "point_id", "measured_ms", "epoch_id", "seq", name=op.f("pk_reading_revision")
        ),
        comment="another value for a point and time that reading already holds",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refusal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("first_ms", BigInt, nullable=False),
        sa.Column("last_ms", BigInt, nullable=False),
        sa.Column("episode_ms", BigInt, nullable=False),
        sa.Column("episode_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusal")),
        sa.UniqueConstraint("gateway_id", "code", name=op.f("uq_refusal_gateway_id_code")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), server_default="Asia/Shanghai", nullable=False),
        sa.Column("suite", sa.Text(), server_default="standard", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("code", name=op.f("uq_site_code")),
    )
    op.create_table(
        "enrollment_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("gateway_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="gateway", nullable=False),
        sa.Column("created_ms", BigInt, nullable=False),
        sa.Column("expires_ms", BigInt, nullable=False),
        sa.Column("used_ms", BigInt, nullable=True),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_enrollment_token_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollment_token")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_enrollment_token_secret_hash")),
    )
    op.create_table(
        "envelope",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("first_seq", BigInt, nullable=False),
        sa.Column("last_seq", BigInt, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_ms", BigInt, nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id", "epoch_id"], ["epoch.site_id", "epoch.id"], name=op.f("fk_envelope_site_id_epoch_id")
        ),
        sa.PrimaryKeyConstraint("site_id", "epoch_id", "number", name=op.f("pk_envelope")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_envelope_site_id_last_seq", "envelope", ["site_id", "epoch_id", "last_seq"], unique=False
    )

    op.create_table(
        "gateway",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="gateway", nullable=False),
        sa.Column("owner_site_id", sa.Integer(), nullable=True),
        sa.Column("authority", sa.LargeBinary(), nullable=True),
        sa.Column("suite", sa.Text(), server_default="standard", nullable=False),
        sa.Column("sm2_key", sa.LargeBinary(), nullable=True),
        sa.Column("seal_key", sa.LargeBinary(), nullable=False),
        sa.Column("enrolled_ms", BigInt, nullable=False),
        sa.Column("revoked_ms", BigInt, nullable=True),
        sa.Column("last_seen_ms", BigInt, nullable=True),
        sa.Column("clock_skew_ms", BigInt, nullable=True),
        sa.ForeignKeyConstraint(["owner_site_id"], ["site.id"], name=op.f("fk_gateway_owner_site_id")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_gateway_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway")),
    )
    op.create_index(
        "uq_gateway_collector_of_site",
        "gateway",
        ["site_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'collector' AND state = 'active'"),
        postgresql_where=sa.text("kind = 'collector' AND state = 'active'"),
    )
    op.create_table(
        "forward_rule",
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("since_ms", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("upstream", "rule", name=op.f("pk_forward_rule")),
        comment="what the settings let be forwarded, and from when on",
    )
    op.create_table(
        "forward_gateway",
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("since_ms", BigInt, nullable=False),
        sa.Column("announced", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_forward_gateway_gateway_id")),
        sa.PrimaryKeyConstraint("upstream", "gateway_id", name=op.f("pk_forward_gateway")),
        comment="gateways that are shared now: whatever comes of them is to be forwarded",
    )
    op.create_table(
        "forward",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("sent_ms", BigInt, nullable=True),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["site_id", "epoch_id", "number"],
            ["envelope.site_id", "envelope.epoch_id", "envelope.number"],
            name=op.f("fk_forward_site_id_epoch_id_number"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forward")),
        sa.UniqueConstraint(
            "upstream",
            "site_id",
            "epoch_id",
            "number",
            name=op.f("uq_forward_upstream_site_id_epoch_id_number"),
        ),
        comment="which envelopes a higher collector was, or is to be, given",
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_forward_due",
        "forward",
        ["upstream", "id"],
        unique=False,
        sqlite_where=sa.text("sent_ms IS NULL AND refused IS NULL"),
        postgresql_where=sa.text("sent_ms IS NULL AND refused IS NULL"),
    )
    op.create_index(
        "ix_forward_sent",
        "forward",
        ["upstream", "sent_ms"],
        unique=False,
        sqlite_where=sa.text("sent_ms IS NOT NULL"),
        postgresql_where=sa.text("sent_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_forward_refused",
        "forward",
        ["upstream", "gateway_id"],
        unique=False,
        sqlite_where=sa.text("refused IS NOT NULL"),
        postgresql_where=sa.text("refused IS NOT NULL"),
    )
    op.create_table(
        "gateway_key",
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("issued_ms", BigInt, nullable=False),
        sa.Column("ends_ms", BigInt, nullable=False),
        sa.Column("used_ms", BigInt, nullable=True),
        sa.Column("old_key", sa.LargeBinary(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_gateway_key_gateway_id")),
        sa.PrimaryKeyConstraint("gateway_id", "number", name=op.f("pk_gateway_key")),
        sa.UniqueConstraint("gateway_id", "public_key", name=op.f("uq_gateway_key_gateway_id_public_key")),
        comment="keys of gateways; what each has signed stays traceable",
    )
    op.create_table(
        "gateway_return",
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_ms", BigInt, nullable=False),
        sa.Column("last_asked_ms", BigInt, nullable=False),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_gateway_return_gateway_id")),
        sa.PrimaryKeyConstraint("gateway_id", name=op.f("pk_gateway_return")),
        comment="gateways whose certificate has ended and who ask to be taken back",
    )
    op.create_table(
        "point",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), server_default="gauge", nullable=False),
        sa.Column("item_code", sa.Text(), nullable=True),
        sa.Column("decimals", sa.Integer(), server_default="3", nullable=False),
        sa.Column("modulus", Real, nullable=True),
        sa.Column("max_rate_per_h", Real, nullable=True),
        sa.ForeignKeyConstraint(
            ["site_id", "device"], ["device.site_id", "device.id"], name=op.f("fk_point_site_id_device")
        ),
        sa.PrimaryKeyConstraint("site_id", "id", name=op.f("pk_point")),
        sa.UniqueConstraint("site_id", "device", "name", name=op.f("uq_point_site_id_device_name")),
    )
    op.create_table(
        "sequence_gap",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("first_seq", BigInt, nullable=False),
        sa.Column("last_seq", BigInt, nullable=False),
        sa.Column("lost", sa.Boolean().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id", "epoch_id"],
            ["epoch.site_id", "epoch.id"],
            name=op.f("fk_sequence_gap_site_id_epoch_id"),
        ),
        sa.PrimaryKeyConstraint("site_id", "epoch_id", "first_seq", name=op.f("pk_sequence_gap")),
        comment="sequence numbers below epoch.top_seq that are not stored yet",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
