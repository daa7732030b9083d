"""How the fields and variants of a configuration are called in the document that is saved."""

from __future__ import annotations

from icechunk._values.object_stores import (
    ChecksumAlgorithm,
    S3CompatibleStore,
    S3Store,
    TigrisStore,
)
from icechunk._values.repository_config import CompressionAlgorithm

# The fields of every map, in the order in which version 1 writes them.
CONCURRENCY = ("max_concurrent_requests_for_object", "ideal_concurrent_request_size")
RETRIES = ("max_tries", "initial_backoff_ms", "max_backoff_ms")
TIMEOUTS = (
    "connect_timeout_ms",
    "read_timeout_ms",
    "operation_timeout_ms",
    "operation_attempt_timeout_ms",
)
CONDITIONAL = (
    "unsafe_use_conditional_update",
    "unsafe_use_conditional_create",
    "unsafe_use_metadata",
)
STORAGE_CLASSES = ("storage_class", "metadata_storage_class", "chunks_storage_class")
CACHING = (
    "num_snapshot_nodes",
    "num_chunk_refs",
    "num_transaction_changes",
    "num_bytes_attributes",
    "num_bytes_chunks",
)
LOCATION_COMPRESSION = (
    "min_num_chunks",
    "dictionary_max_training_samples",
    "dictionary_max_size_bytes",
    "compression_level",
)
S3_FLAGS = ("anonymous", "allow_http", "force_path_style", "requester_pays")

ALGORITHMS = {"zstd": CompressionAlgorithm.Zstd}
CHECKSUMS = {
    "crc32": ChecksumAlgorithm.Crc32,
    "crc32c": ChecksumAlgorithm.Crc32c,
    "crc64_nvme": ChecksumAlgorithm.Crc64Nvme,
    "sha1": ChecksumAlgorithm.Sha1,
    "sha256": ChecksumAlgorithm.Sha256,
}
STORES_LIKE_S3 = {
    "s3": S3Store,
    "s3_compatible": S3CompatibleStore,
    "tigris": TigrisStore,
}
