"""Traffic and promises: one scenario, several load tools, one ledger. Knows the service under test by HTTP only."""
