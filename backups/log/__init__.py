"""The shipped log: read as it grows, kept in a store, laid over a backup up to a point."""
