"""Telling people: the outbox that detection fills, and the channels through which it is emptied."""
