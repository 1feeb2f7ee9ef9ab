"""The SQLite engine: an agent process that reads a live database, and what it says to its owner."""
