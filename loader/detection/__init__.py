"""Detection: Sigma rules are read, compiled to query DSL, run, correlated and turned into alerts."""
