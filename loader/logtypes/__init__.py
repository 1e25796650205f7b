"""Raw records in, documents out. Pure: no I/O, no clock, no settings, no mutation of what is given."""
