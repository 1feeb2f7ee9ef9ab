"""Manifests for a cluster: the service, its backups, and users who put a load on it; checked by `check.py`."""
