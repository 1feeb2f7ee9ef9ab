"""Who can open a backup, and what seals it."""
