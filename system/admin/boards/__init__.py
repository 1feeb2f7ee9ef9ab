"""The boards: one module a board, each with its routes."""
