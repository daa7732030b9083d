"""Plain values in; text and HTML out. Nothing here knows what the values mean."""
