"""The blocking engine behind the public classes."""
