"""Rules for other schedulers: each exporter says in its target's own terms what it can, and names what it cannot."""
