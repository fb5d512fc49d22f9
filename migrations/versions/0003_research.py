"""Studies without a network, answers of several trials under one key, webhooks, experiments."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("study") as study:
        study.alter_column("baseline_id", existing_type=sa.String(length=32), nullable=True)
    op.add_column("request_key", sa.Column("subjects", sa.JSON(), nullable=True))
    # Everything that a study's counts are made of: ten thousand long rows are left unread.
    op.create_index(
        "ix_trial_counts", "trial", ["study_id", "state", "is_feasible", "origin"], unique=False
    )
    op.drop_index("ix_trial_study_state", "trial")
    op.create_index(
        "ix_event_incumbent",
        "event",
        ["study_id"],
        unique=False,
        sqlite_where=sa.text("kind = 'incumbent'"),
        postgresql_where=sa.text("kind = 'incumbent'"),
    )
    op.create_table(
        "webhook",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secret", sa.String(length=200), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=True),
        sa.Column("made_by", sa.String(length=200), nullable=False),
        sa.Column("after_event", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("webhook_id", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("n_tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"]),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("webhook_id", "event_id"),
    )
    op.create_index("ix_delivery_state_next_at", "delivery", ["state", "next_at"], unique=False)
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
    n = op.get_bind().execute(sa.text("SELECT count(*) FROM study WHERE baseline_id IS NULL"))
    if n.scalar_one():
        raise RuntimeError("there are studies without a network, which the schema before has not")
    op.drop_index("ix_study_experiment_id", "study")
    op.drop_column("study", "experiment_id")
    op.drop_index("ix_experiment_subject_id", "experiment")
    op.drop_table("experiment")
    op.drop_index("ix_delivery_state_next_at", "delivery")
    op.drop_table("delivery")
    op.drop_table("webhook")
    op.drop_index("ix_event_incumbent", "event")
    op.create_index("ix_trial_study_state", "trial", ["study_id", "state"], unique=False)
    op.drop_index("ix_trial_counts", "trial")
    op.drop_column("request_key", "subjects")
    with op.batch_alter_table("study") as study:
        study.alter_column("baseline_id", existing_type=sa.String(length=32), nullable=False)
