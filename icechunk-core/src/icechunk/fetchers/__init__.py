"""The ways to read virtual chunks that core itself contributes."""
