"""The backup engine: works on a database and a store, and knows nothing of what the database is for."""
