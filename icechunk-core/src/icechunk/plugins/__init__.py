"""How the outside world comes in: the hooks, and the registry of what they brought.

`hookspecs` is the manual for plugin authors.
"""
