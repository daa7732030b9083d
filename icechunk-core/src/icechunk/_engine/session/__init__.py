"""Reading, writing and committing through one session."""
