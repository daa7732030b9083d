"""Bytes and values: every file of the format, both ways. No I/O, no clock, no configuration."""
