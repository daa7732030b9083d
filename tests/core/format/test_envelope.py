from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given, strategies as st

from icechunk._engine.format import envelope
from icechunk._engine.format.envelope import open_file, seal_file
from icechunk._engine.format.header import HEADER_SIZE_BYTES, FileHeader, FileType
from icechunk.errors import ErrorKind, FormatError

NAME = "snapshots/1CECHNKREP0F1RSTCMT0"
HEADER = FileHeader(writer="test", spec_version=2, file_type=FileType.SNAPSHOT).encode()


def opened(body: bytes) -> memoryview:
    return open_file(HEADER + body, FileType.SNAPSHOT, name=NAME)[1]


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=24),
    st.sampled_from([1, 2]),
    st.sampled_from(FileType),
)
def test_a_header_survives_a_round_trip(writer: str, spec_version: int, file_type: FileType) -> None:
    header = FileHeader(writer=writer, spec_version=spec_version, file_type=file_type)
    assert len(header.encode()) == HEADER_SIZE_BYTES
    assert FileHeader.decode(header.encode(), name=NAME) == header


def test_a_long_name_of_a_writer_is_cut_between_characters() -> None:
    header = FileHeader(writer="é" * 20 + "x", spec_version=2, file_type=FileType.SNAPSHOT)
    assert FileHeader.decode(header.encode(), name=NAME).writer == "é" * 12


@given(st.lists(st.binary(max_size=100), max_size=5), st.booleans())
def test_a_file_survives_a_round_trip(pieces: list[bytes], is_joined: bool) -> None:
    sealed = seal_file(b"".join(pieces) if is_joined else pieces, FileType.MANIFEST, 1)
    header, payload = open_file(sealed, FileType.MANIFEST, name=NAME)
    assert payload == b"".join(pieces)
    assert payload.readonly
    assert header.spec_version == 1


def test_large_pieces_are_compressed_without_joining_them() -> None:
    pieces = [bytes([number]) * 2**17 for number in range(5)]
    sealed = seal_file(pieces, FileType.MANIFEST, 2, level=1)
    assert zstandard.frame_content_size(sealed[HEADER_SIZE_BYTES:]) == 5 * 2**17
    assert open_file(sealed, FileType.MANIFEST, name=NAME)[1] == b"".join(pieces)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "invalid icechunk header size, got 0 bytes, expected at least 39"),
        (HEADER[:20], "invalid icechunk header size, got 20 bytes, expected at least 39"),
        (b"x" + HEADER[1:], "invalid magic numbers in file"),
        (HEADER[:37] + b"\x63" + HEADER[38:], "Icechunk encountered an unknown file type code 99"),
        (HEADER[:37] + b"\x06" + HEADER[38:], "Icechunk cannot read this file type, expected Snapshot got 6"),
        (HEADER[:38] + b"\x00", "Icechunk cannot read file, invalid compression algorithm"),
        (HEADER, "no zstd frame"),
        (HEADER + b"nonsense", "no zstd frame"),
        (HEADER + zstandard.compress(b"payload")[:-1], "cut off"),
        (HEADER + zstandard.compress(b"payload") + b"rest", "damaged"),
    ],
)
def test_what_is_no_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        open_file(data, FileType.SNAPSHOT, name=NAME)
    assert NAME in str(caught.value)
    assert caught.value.kind == ErrorKind.INVALID_FILE_FORMAT


def test_a_newer_version_asks_for_an_upgrade() -> None:
    with pytest.raises(FormatError, match="uses Icechunk format version 3, but this library only") as caught:
        open_file(HEADER[:36] + b"\x03" + HEADER[37:], FileType.SNAPSHOT, name=NAME)
    assert caught.value.kind == ErrorKind.UNSUPPORTED_SPEC_VERSION


def test_a_frame_without_content_size_is_read() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"payload" * 1000)
    assert opened(frame) == b"payload" * 1000


@given(st.lists(st.tuples(st.binary(max_size=50), st.booleans()), min_size=1, max_size=6))
def test_several_frames_are_read_as_one(parts: list[tuple[bytes, bool]]) -> None:
    frames = [
        zstandard.ZstdCompressor(write_content_size=with_size).compress(part) for part, with_size in parts
    ]
    assert opened(b"".join(frames)) == b"".join(part for part, _ in parts)


@pytest.mark.parametrize("with_size", [True, False])
def test_a_bomb_is_refused(with_size: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real limit would take this test half a second; it is the same code.
    monkeypatch.setattr(envelope, "SMALL_PAYLOAD_BYTES", 2**20)
    bomb = zstandard.ZstdCompressor(write_content_size=with_size).compress(bytes(2**27))
    assert envelope.MAX_EXPANSION * len(bomb) < 2**27
    with pytest.raises(FormatError, match="allowed"):
        opened(bomb)


def test_a_lie_about_the_content_size_is_refused() -> None:
    frame = bytearray(zstandard.compress(b"payload"))
    assert frame[5] == len(b"payload")
    for claimed in (0, 6, 8, 200):
        frame[5] = claimed
        with pytest.raises(FormatError, match="damaged"):
            opened(bytes(frame))


@given(st.binary(max_size=300))
def test_any_bytes_behind_the_header_are_an_error_or_a_payload(body: bytes) -> None:
    message = NAME
    try:
        opened(b"\x28\xb5\x2f\xfd" + body)
    except FormatError as error:
        message = str(error)
    assert NAME in message


def test_threads_seal_and_open_at_once() -> None:
    def round_trip(number: int) -> bool:
        payload = b"%d" % number * 1000
        return open_file(seal_file(payload, FileType.MANIFEST, 2), FileType.MANIFEST, name=NAME)[1] == payload

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(500)))
