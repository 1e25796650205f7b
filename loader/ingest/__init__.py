"""Notification ▶ source ▶ log type ▶ index: the only composition of the loader's rooms."""
