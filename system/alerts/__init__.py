"""Alerts: rules over the service's own figures, what became of each, and who is told."""
