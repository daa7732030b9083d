"""The version of these distributions, which go in lock step, and the name that we write into files."""

from __future__ import annotations

from typing import Final

# `tools/release.py bump` rewrites this line, and the pins in every pyproject.toml with it.
__version__: Final = "0.1.0"

# In the header of every file, and what `user_agent()` says.
CLIENT_NAME: Final = f"ic-py-{__version__}"
