"""Keep commands to devices, and the keys that secrets in them are sealed to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("gateway", recreate="always") as gateway:
        gateway.add_column(
            sa.Column("seal_key", sa.LargeBinary(), nullable=True), insert_before="certificate_serial"
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
