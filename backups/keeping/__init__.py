"""Which backups there are, which are good, which are due, and which may go."""
