"""Where other programs call in: thin, with no work at import."""
