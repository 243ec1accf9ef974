"""Decisions: an immutable snapshot in, a value out. No clock, no chance, no I/O; `now` is an argument."""
