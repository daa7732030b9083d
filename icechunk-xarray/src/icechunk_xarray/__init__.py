"""Xarray for Icechunk, reached as ``icechunk.xarray``.

Nothing is imported here: the plugin is loaded together with all others, also by programs that never touch
Xarray.
"""
