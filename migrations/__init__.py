"""The schema's history: one file per revision, and the functions that move a database along it."""
