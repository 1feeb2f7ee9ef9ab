"""PostgreSQL: its binaries, servers of our own, and the engine that backs clusters up and brings them back."""
