"""Who drives which study, rungs of trainings."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("study") as study:
        study.alter_column("revision", existing_type=sa.Integer(), server_default=None)
    op.create_table(
        "driver",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("installation", sa.String(length=32), nullable=False),
        sa.Column("is_store_marked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("trial") as trial:
        trial.add_column(sa.Column("built", sa.String(64), nullable=True))
        trial.add_column(sa.Column("twin_of", sa.String(32), nullable=True))
        trial.add_column(sa.Column("rung", sa.Integer(), nullable=True))
        trial.add_column(sa.Column("promoted_from", sa.String(32), nullable=True))
        trial.create_index("ix_trial_built", ["study_id", "built"])
        trial.drop_index("ix_trial_counts")
        trial.create_index(
            "ix_trial_counts", ["study_id", "state", "is_feasible", "origin", "rung"]
        )


def downgrade() -> None:
    with op.batch_alter_table("trial") as trial:
        trial.drop_index("ix_trial_counts")
        trial.create_index("ix_trial_counts", ["study_id", "state", "is_feasible", "origin"])
        trial.drop_index("ix_trial_built")
        trial.drop_column("promoted_from")
        trial.drop_column("rung")
        trial.drop_column("twin_of")
        trial.drop_column("built")
    op.drop_table("driver")
    op.drop_column("study", "revision")
