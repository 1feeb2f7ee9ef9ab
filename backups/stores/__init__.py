"""Where backups are kept: the protocol of a store, every kind there is, and several as one."""
