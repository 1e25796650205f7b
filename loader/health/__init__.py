"""How the SIEM itself does: what `siem status` and the metrics show."""
