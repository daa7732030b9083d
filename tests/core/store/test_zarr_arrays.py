"""Arrays of every kind that Zarr has, through both of its codec pipelines, before and after a commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.core import codec_pipeline
from zarr.core.buffer import cpu

from icechunk import IcechunkStore, InvalidInputError, Repository, local_filesystem_storage

if TYPE_CHECKING:
    import numpy.typing as npt

    from icechunk import Session

HAS_FUSED_PIPELINE = hasattr(codec_pipeline, "FusedCodecPipeline")
PIPELINES = ["BatchedCodecPipeline", *(["FusedCodecPipeline"] if HAS_FUSED_PIPELINE else [])]
# Zarr's switch for rectilinear grids, in those releases that have them.
HAS_RECTILINEAR_GRIDS = "rectilinear_chunks" in zarr.config.get("array", {})


@pytest.fixture(params=PIPELINES)
def pipeline(request: pytest.FixtureRequest) -> Iterator[str]:
    with zarr.config.set({"codec_pipeline.path": f"zarr.core.codec_pipeline.{request.param}"}):
        yield request.param


def check(
    repository: Repository, session: Session, path: str, expected: npt.NDArray[Any] | np.generic
) -> None:
    """Read an array in the session that wrote it, and in one after its commit."""
    np.testing.assert_array_equal(zarr.open_array(session.store, path=path, mode="r")[...], expected)
    session.commit("write")
    reader = repository.readonly_session("main")
    np.testing.assert_array_equal(zarr.open_array(reader.store, path=path, mode="r")[...], expected)


DTYPES = [
    "bool",
    *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)),
    *("f2", "f4", "f8", "c8", "c16", ">i4", ">f8"),
    *("S5", "U5", "M8[s]", "m8[ns]", "V4"),
    *("str", "structured"),
]


# Zarr 3.1.0 says so of every array of texts.
@pytest.mark.filterwarnings("ignore:The codec `vlen-utf8` is currently not part:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(repository: Repository, session: Session, pipeline: str, dtype: str) -> None:
    data: npt.NDArray[Any]
    if dtype == "str":
        data = np.array(["a", "", "ünï", "x" * 2000] * 3, np.dtypes.StringDType())
    elif dtype == "structured":
        data = np.array([(i, i / 2) for i in range(12)], [("a", "i4"), ("b", "f8")])
    elif dtype == "V4":
        data = np.arange(12, dtype="u4").view("V4")
    else:
        data = np.arange(12).astype(dtype)
    array = zarr.create_array(session.store, name="x", shape=12, chunks=5, dtype=data.dtype)
    array[...] = data
    check(repository, session, "x", data)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (7,), (5, 6, 7), (2, 1, 3, 2, 4)])
def test_shapes(repository: Repository, session: Session, pipeline: str, shape: tuple[int, ...]) -> None:
    data = np.arange(1, 1 + int(np.prod(shape)), dtype="i4").reshape(shape)
    array = zarr.create_array(
        session.store, name="x", shape=shape, chunks=tuple(max(1, (n + 1) // 2) for n in shape), dtype="i4"
    )
    array[...] = data
    check(repository, session, "x", data)


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": None},
        {"compressors": [GzipCodec(level=1)]},
        {"compressors": [ZstdCodec(level=1)], "filters": [TransposeCodec(order=(1, 0))]},
        {"compressors": None, "serializer": BytesCodec(endian="big")},
        {"compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    ],
    ids=["raw", "gzip", "transposed", "big-endian", "other keys"],
)
def test_codecs(repository: Repository, session: Session, pipeline: str, options: dict[str, Any]) -> None:
    data = np.random.default_rng(1).integers(0, 2**31, (40, 30)).astype("i4")

    def create() -> Any:
        return zarr.create_array(
            session.store, name="x", shape=data.shape, chunks=(7, 11), dtype="i4", **options
        )

    array = create()
    if "chunk_key_encoding" in options:
        # Keys of chunks are always `c/0/0`: no repository can have others.
        with pytest.raises(InvalidInputError, match="invalid zarr key format"):
            array[...] = data
        return
    array[...] = data
    check(repository, session, "x", data)


@pytest.mark.parametrize("compressors", [None, "auto"])
def test_shards(repository: Repository, session: Session, pipeline: str, compressors: Any) -> None:
    data = np.arange(40 * 30, dtype="f8").reshape(40, 30)
    array = zarr.create_array(
        session.store,
        name="x",
        shape=data.shape,
        shards=(20, 10),
        chunks=(5, 5),
        dtype="f8",
        compressors=compressors,
    )
    array[...] = data
    # Part of a shard: reads ranges of it, and writes all of it.
    array[3:8, 2:4] = -1
    data[3:8, 2:4] = -1
    np.testing.assert_array_equal(array[4:6, 1:9], data[4:6, 1:9])
    check(repository, session, "x", data)


def test_parts_of_chunks(repository: Repository, session: Session, pipeline: str) -> None:
    data = np.zeros((20, 20), "i2")
    array = zarr.create_array(session.store, name="x", shape=(20, 20), chunks=(6, 6), dtype="i2")
    for step, part in enumerate([np.s_[2:9, 3:15], np.s_[::3, ::5], np.s_[19, :], np.s_[5:7, 5:7]], 1):
        array[part] = data[part] = step
    # Back to the fill value: Zarr deletes the chunk.
    array[0:6, 0:6] = data[0:6, 0:6] = 0
    assert session.store.get_sync("x/c/0/0") is None
    check(repository, session, "x", data)


def test_an_array_at_the_root(repository: Repository, session: Session, pipeline: str) -> None:
    data = np.arange(20, dtype="i8")
    zarr.create_array(session.store, data=data, chunks=3)
    check(repository, session, "", data)


def test_a_chunk_that_is_mapped_into_memory_can_be_decoded_and_written_anew(
    tmp_path: Any, spec_version: int, pipeline: str
) -> None:
    repository = Repository.create(local_filesystem_storage(tmp_path), spec_version=spec_version)
    session = repository.writable_session("main")
    data = np.random.default_rng(1).random(2**19)
    array = zarr.create_array(
        session.store, name="x", shape=2**19, chunks=2**18, dtype="f8", compressors=None
    )
    array[...] = data
    # Reads the chunk, changes a part of it, writes it.
    array[5:10] = data[5:10] = 1
    array[:] = data[:] = array[:] + 1
    check(repository, session, "x", data)


RECTILINEAR = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [10, 6],
    "data_type": "int32",
    "fill_value": 0,
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "chunk_grid": {
        "name": "rectilinear",
        "configuration": {"kind": "inline", "chunk_shapes": [[[3, 3], 1], [2, 4]]},
    },
    "attributes": {},
}


def test_rectilinear_grids(
    repository: Repository, session: Session, pipeline: str, spec_version: int
) -> None:
    document = cpu.Buffer.from_bytes(json.dumps(RECTILINEAR).encode())
    if spec_version == 1:
        with pytest.raises(InvalidInputError, match="Non-regular chunk grids are not supported"):
            session.store.set_sync("x/zarr.json", document)
        return
    session.store.set_sync("x/zarr.json", document)
    if not HAS_RECTILINEAR_GRIDS:
        # The repository holds it; this zarr says that it cannot read it.
        with pytest.raises(ValueError, match="rectilinear"):
            zarr.open_array(session.store, path="x")
        return
    data = np.arange(60, dtype="i4").reshape(10, 6)
    with zarr.config.set({"array.rectilinear_chunks": True}):
        zarr.open_array(session.store, path="x")[...] = data
        assert session.store.get_sync("x/c/3/1") is not None
        assert session.store.get_sync("x/c/4/0") is None
        check(repository, session, "x", data)


@contextmanager
def counted_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    calls: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("get", "get_sync"):
            original = getattr(IcechunkStore, name)

            def counting(
                self: Any, key: str, *args: Any, _of: Any = original, _name: str = name, **kw: Any
            ) -> Any:
                if "/c/" in key:
                    calls.append(_name)
                return _of(self, key, *args, **kw)

            patch.setattr(IcechunkStore, name, counting)
        yield calls


def test_each_pipeline_takes_its_short_way(
    session: Session, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.arange(100)
    array = zarr.create_array(session.store, name="x", data=data, chunks=10)
    with counted_calls(monkeypatch) as calls:
        np.testing.assert_array_equal(array[:], data)
    way = "get_sync" if pipeline == "FusedCodecPipeline" else "get"
    assert calls == [way] * 10
