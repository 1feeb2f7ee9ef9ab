"""Faults that prove they bit and undo themselves, played on a target that was marked for it."""
