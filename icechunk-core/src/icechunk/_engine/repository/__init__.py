"""Opening, refs, history and the updates of what is mutable."""
