"""Who did it: sessions as edges from a credential to whoever asked for it, and the way back to the first principal."""
