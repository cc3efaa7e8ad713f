"""What Alembic runs for each of its commands: it works in the connection, and in the transaction, of the caller."""

from alembic import context

attributes = context.config.attributes
context.configure(connection=attributes["connection"], version_table=attributes["versions"])
context.run_migrations()
