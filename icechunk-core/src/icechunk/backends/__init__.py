"""The storage that core itself contributes: memory and the local filesystem."""
