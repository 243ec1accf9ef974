"""Loops that make what is so into what is wished."""
