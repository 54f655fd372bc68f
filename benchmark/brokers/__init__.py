"""Real brokers, started for a test or a measurement on loopback, and ended after it."""
