"""A device's last attempts are found by an index."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_attempt_holder", "attempt", ["holder", "started_at"])


def downgrade() -> None:
    op.drop_index("ix_attempt_holder", "attempt")
