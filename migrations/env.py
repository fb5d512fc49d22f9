"""Runs migrations on the connection that `stillhouse_service.database` hands over."""

from alembic import context

from stillhouse_service.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
