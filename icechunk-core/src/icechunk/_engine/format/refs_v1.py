"""The ref files of spec version 1: a small JSON object that names a snapshot.

Format section 11.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from icechunk._engine.format.ids import SnapshotId
from icechunk.errors import ErrorKind, FormatError, InvalidInputError

if TYPE_CHECKING:
    from icechunk._engine.format.values import Buffer

# A valid file has 35 bytes; whoever writes by hand may add white space.
_MAX_BYTES = 4096


def encode_ref(snapshot_id: SnapshotId) -> bytes:
    """The content of a ref file: no white space, no newline."""
    return b'{"snapshot":"%s"}' % str(snapshot_id).encode()


def decode_ref(data: Buffer, *, name: str) -> SnapshotId:
    """Read a ref file.

    Raises
    ------
    FormatError
        It is no JSON object whose member `snapshot` is the text of a snapshot id.
    """
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"{len(data)} bytes are too many")
        document = json.loads(bytes(data).decode())
        if not isinstance(document, dict) or not isinstance(document.get("snapshot"), str):
            raise ValueError("there is no text `snapshot` in it")
        return SnapshotId.parse(document["snapshot"])
    except (ValueError, RecursionError, InvalidInputError) as error:
        raise FormatError(f"{name}: invalid ref file: {error}", kind=ErrorKind.DESERIALIZATION) from error
