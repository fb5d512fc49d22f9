"""Experiments: studies that run a list of cases instead of an optimizer."""

import sqlalchemy as sa
from alembic import op

revision = "0003d"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("subject_id", sa.String(length=32), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("cases", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_experiment_subject_id", "experiment", ["subject_id"], unique=False)
    op.add_column("study", sa.Column("experiment_id", sa.String(length=32), nullable=True))
    op.create_index("ix_study_experiment_id", "study", ["experiment_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_study_experiment_id", "study")
    op.drop_column("study", "experiment_id")
    op.drop_index("ix_experiment_subject_id", "experiment")
    op.drop_table("experiment")
