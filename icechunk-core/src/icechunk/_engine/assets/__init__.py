"""Typed immutable objects over a storage backend: fetch, write, cache, single flight."""
