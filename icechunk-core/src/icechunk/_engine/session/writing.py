"""Changes of nodes: setting metadata documents, deleting nodes and whole directories, the status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._engine.format.ids import NodeId
from icechunk._engine.session.grid import parse_node_document
from icechunk._engine.session.keys import ChunkKey, MetadataKey, V2Key, normal_path, parse_key
from icechunk._engine.session.listing import chunks_in, nodes_within
from icechunk._engine.session.reading import ArrayEntry
from icechunk.errors import AlreadyExistsError, ErrorKind, InvalidInputError, SessionStateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icechunk._engine.changes import ChangeSet
    from icechunk._engine.session.grid import ArrayLayout
    from icechunk._engine.session.reading import Entry
    from icechunk._engine.session.session import EngineSession
    from icechunk.abc.storage import Buffer


def set_key(session: EngineSession, key: str, data: Buffer, size_bytes: int) -> None:
    """Set a chunk or a metadata document.

    Raises
    ------
    InvalidInputError
        The key or the document is not valid, or the chunk is empty or outside of the grid.
    NodeNotFoundError
        A chunk of an array that does not exist.
    AlreadyExistsError
        A group where an array is, or the reverse.
    ReadOnlyError
        The session is read-only.
    """
    if session.set_chunk(key, data, size_bytes):
        return
    parsed = parse_key(key)
    if isinstance(parsed, V2Key):
        raise SessionStateError(
            "store method `Icechunk cannot set Zarr V2 metadata keys` is not implemented by Icechunk: "
            f"`{key}`; write with zarr_format=3",
            kind=ErrorKind.UNIMPLEMENTED,
        )
    set_document(session, parsed.path, bytes(data))


def set_document(session: EngineSession, path: str, document: bytes) -> None:
    """Create a node, or give one that is there new metadata. The same bytes change nothing."""
    layout = parse_node_document(document, session.spec_version)
    # This loads the base, if it has to be, before the lock is taken. What is wrong with the document is told before
    # what is wrong with the session, which may hold what is asked for although nothing can be changed in it.
    if _is_there(session.find_node(path), path, document, layout):
        return
    with session.editing() as changes:
        node = session.find_node(path)
        if _is_there(node, path, document, layout):
            return
        id = NodeId.random() if node is None else node.id
        in_base = node is not None and node.in_base
        if layout is None:
            changes.set_group(path, id, document, in_base=in_base)
        else:
            if isinstance(node, ArrayEntry) and len(node.shape) != len(layout.shape):
                changes.chunks.pop(id, None)
            changes.set_array(path, id, document, layout.shape, layout.dimension_names, in_base=in_base)


def _is_there(node: Entry | None, path: str, document: bytes, layout: ArrayLayout | None) -> bool:
    """Whether there is such a node already. Raises if there is one of the other type."""
    if node is None:
        return False
    if node.user_data == document:
        return True
    if isinstance(node, ArrayEntry) is not (layout is not None):
        raise AlreadyExistsError(
            f"node already exists at `{path}`: it is {_kind(node)}, and a node cannot change into "
            "the other kind; delete it first",
            kind=ErrorKind.NODE_ALREADY_EXISTS,
        )
    return False


def delete_key(session: EngineSession, key: str) -> None:
    """Delete a chunk, or a node with everything below it. What does not exist is no error."""
    parsed = parse_key(key)
    if isinstance(parsed, ChunkKey):
        session.delete_chunk(parsed)
    elif isinstance(parsed, MetadataKey) and session.find_node(parsed.path) is not None:
        delete_nodes(session, parsed.path)


def delete_nodes(session: EngineSession, path: str) -> None:
    """Delete the node at `path` and every node below it, whether or not there is one at `path`.

    What is below an array, where nothing should be, stays, as in the reference.
    """
    session.base()  # loads it, if it has to be, before the lock is taken
    with session.editing() as changes:
        array = session.find_node(path)
        _delete(changes, [array] if isinstance(array, ArrayEntry) else nodes_within(session, path))


def delete_everything(session: EngineSession) -> None:
    """Delete every node, also what lies below an array."""
    session.base()
    with session.editing() as changes:
        _delete(changes, nodes_within(session, "/"))


def _delete(changes: ChangeSet, nodes: Iterable[Entry]) -> None:
    for node in nodes:
        changes.delete_node(node.path, node.id, is_array=isinstance(node, ArrayEntry), in_base=node.in_base)


def delete_directory(session: EngineSession, prefix: str) -> None:
    """Delete everything in a directory: nodes, or some of the chunks of an array."""
    path = normal_path(prefix)
    if path is None:
        raise InvalidInputError(
            f"bad key prefix ({prefix}): Cannot convert to a path", kind=ErrorKind.BAD_KEY_PREFIX
        )
    if nodes_within(session, path):
        delete_nodes(session, path)
    found = chunks_in(session, prefix)
    if found is not None:
        array, coords = found
        for row in coords.tolist():
            session.delete_chunk(ChunkKey(array.path, tuple(row)))


def _kind(node: object) -> str:
    return "an array" if isinstance(node, ArrayEntry) else "a group"
