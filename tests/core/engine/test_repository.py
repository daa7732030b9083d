from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import icechunk
from icechunk import (
    AlreadyExistsError,
    CompressionConfig,
    ConflictError,
    InvalidInputError,
    ReadOnlyError,
    RefNotFoundError,
    RepoAvailability,
    Repository,
    RepositoryConfig,
    RepositoryNotFoundError,
    RepoStatus,
    SessionStateError,
    SnapshotNotFoundError,
    SpecVersion,
    Storage,
    StorageError,
    local_filesystem_storage,
)
from icechunk._engine.format.envelope import open_file, seal_file
from icechunk._engine.format.header import FileType
from icechunk.abc import Capabilities

INITIAL = "1CECHNKREP0F1RSTCMT0"
UNKNOWN = "ZZZZZZZZZZZZZZZZZZZ0"

Raises = Callable[..., Any]


def commit_group(repo: Repository, name: str, branch: str = "main") -> str:
    session = repo.writable_session(branch)
    zarr.create_group(session.store, path=name)
    return session.commit(f"add {name}")


def unknown_snapshot(raises: Raises, version: int) -> Any:
    if version == 1:
        return raises(StorageError, "object-not-found", "object not found")
    return raises(SnapshotNotFoundError, "snapshot-not-found", f"snapshot id not found `{UNKNOWN}`")


class TestOpening:
    def test_there_is_nothing_at_first(self, storage: Storage, raises: Raises) -> None:
        missing = (RepositoryNotFoundError, "repository-not-found", "the repository doesn't exist")
        assert not Repository.exists(storage)
        assert Repository.fetch_spec_version(storage) is None
        with raises(*missing):
            Repository.open(storage)
        with raises(*missing):
            Repository.fetch_config(storage)

    def test_what_was_created_can_be_opened(self, storage: Storage, spec_version: int) -> None:
        created = Repository.create(storage, spec_version=spec_version)
        assert Repository.exists(storage)
        assert Repository.fetch_spec_version(storage) == spec_version
        for repo in (created, Repository.open(storage), Repository.open_or_create(storage)):
            assert repo.spec_version == SpecVersion(spec_version)
            assert repo.storage == storage
            assert repo.list_branches() == {"main"}
            assert repo.list_tags() == set()
            [root] = repo.ancestry(branch="main")
            assert root.id == INITIAL
            assert root.parent_id is None
            assert root.message == "Repository initialized"
            assert root.metadata == {"__icechunk": {"is_root": True}}

    def test_the_newest_version_is_the_default(self, storage: Storage) -> None:
        assert Repository.create(storage).spec_version == 2

    def test_open_or_create_creates_the_version_that_is_asked_for(self, storage: Storage) -> None:
        assert Repository.open_or_create(storage, create_version=1).spec_version == 1
        assert Repository.open_or_create(storage, create_version=2).spec_version == 1

    @pytest.mark.parametrize("version", [0, 3, "2", True])
    def test_there_are_two_versions(self, storage: Storage, version: Any) -> None:
        with pytest.raises(ValueError, match="version"):
            Repository.create(storage, spec_version=version)

    def test_a_repository_is_created_once(self, storage: Storage, spec_version: int, raises: Raises) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        tip = commit_group(repo, "a")
        with raises(InvalidInputError, "parent-directory-not-clean", "repositories can only be"):
            Repository.create(storage, spec_version=spec_version)
        expected = (
            ("branch-update-conflict", f"branch update conflict: `(None) != (Some({tip}))`")
            if spec_version == 1
            else ("repo-info-updated", "repo info object was updated after this session started")
        )
        with raises(ConflictError, *expected):
            Repository.create(storage, spec_version=spec_version, check_clean_root=False)
        assert [info.id for info in repo.ancestry(branch="main")] == [tip, INITIAL]

    def test_a_folder_with_files_is_no_place_for_a_repository(self, tmp_path: Path, raises: Raises) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_text("x")
        storage = icechunk.local_filesystem_storage(str(tmp_path))
        with raises(InvalidInputError, "parent-directory-not-clean", "repositories can only be"):
            Repository.create(storage)
        with raises(InvalidInputError, "parent-directory-not-clean", "repositories can only be"):
            Repository.open_or_create(storage)
        Repository.create(storage, check_clean_root=False)

    def test_opening_makes_no_folders(self, tmp_path: Path) -> None:
        storage = icechunk.local_filesystem_storage(str(tmp_path / "no" / "such"))
        with pytest.raises(RepositoryNotFoundError):
            Repository.open(storage)
        assert not Repository.exists(storage)
        assert list(tmp_path.iterdir()) == []

    async def test_the_awaitable_forms_do_the_same(self, storage: Storage) -> None:
        assert not await Repository.exists_async(storage)
        created = await Repository.create_async(storage, spec_version=1)
        assert await Repository.fetch_spec_version_async(storage) == 1
        repo = await Repository.open_async(storage)
        assert await repo.lookup_branch_async("main") == created.lookup_branch("main")
        session = await repo.writable_session_async("main")
        await zarr.api.asynchronous.create_group(store=session.store)
        tip = await session.commit_async("root")
        assert [info.id async for info in repo.async_ancestry(branch="main")] == [tip, INITIAL]


class TestConfig:
    def test_nothing_is_persisted_unless_something_is_said(self, storage: Storage, spec_version: int) -> None:
        repo = Repository.create(storage, RepositoryConfig(), spec_version=spec_version)
        assert Repository.fetch_config(storage) is None
        assert repo.config.storage == storage.default_settings()

    def test_a_configuration_is_persisted_at_creation(self, storage: Storage, spec_version: int) -> None:
        config = RepositoryConfig(inline_chunk_threshold_bytes=7)
        repo = Repository.create(storage, config, spec_version=spec_version)
        persisted = Repository.fetch_config(storage)
        assert persisted == repo.config
        assert persisted is not None
        assert persisted.storage == storage.default_settings()
        opened = Repository.open(storage, RepositoryConfig(get_partial_values_concurrency=3))
        assert opened.config.inline_chunk_threshold_bytes == 7
        assert opened.config.get_partial_values_concurrency == 3
        assert Repository.fetch_config(storage) == persisted

    def test_save_config_persists_what_the_handle_has(self, storage: Storage, spec_version: int) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        repo.reopen(RepositoryConfig(inline_chunk_threshold_bytes=9)).save_config()
        assert Repository.open(storage).config.inline_chunk_threshold_bytes == 9

    def test_in_spec_2_the_last_configuration_wins(self, storage: Storage) -> None:
        repo = Repository.create(storage)
        repo.save_config()
        Repository.open(storage, RepositoryConfig(inline_chunk_threshold_bytes=9)).save_config()
        repo.save_config()
        assert Repository.open(storage).config.inline_chunk_threshold_bytes is None

    def test_in_spec_1_a_configuration_that_changed_meanwhile_is_a_conflict(
        self, storage: Storage, raises: Raises
    ) -> None:
        repo = Repository.create(storage, spec_version=1)
        repo.save_config()
        repo.save_config()
        other = Repository.open(storage, RepositoryConfig(inline_chunk_threshold_bytes=9))
        other.save_config()
        with raises(ConflictError, "config-updated", "config was updated by other session"):
            repo.save_config()
        other.save_config()
        assert Repository.open(storage).config.inline_chunk_threshold_bytes == 9

    def test_a_repository_that_is_gone(self, tmp_path: Path, raises: Raises) -> None:
        repo = Repository.create(local_filesystem_storage(str(tmp_path / "repo")))
        session = repo.writable_session("main")
        zarr.create_group(session.store)
        shutil.rmtree(tmp_path / "repo")
        gone = (RepositoryNotFoundError, "repository-not-found")
        for work in (repo.list_branches, repo.ops_log, lambda: repo.create_branch("b", INITIAL)):
            with raises(*gone, "the repository doesn't exist"):
                work()
        with raises(*gone, "session error: the repository doesn't exist"):
            session.commit("no")

    def test_a_compression_level_beyond_the_last_is_the_last(
        self, storage: Storage, spec_version: int
    ) -> None:
        config = RepositoryConfig(compression=CompressionConfig(level=255))
        repo = Repository.create(storage, config, spec_version=spec_version)
        commit_group(repo, "a")
        assert len(list(repo.ancestry(branch="main"))) == 2

    @pytest.mark.parametrize(
        ("compression", "of_manifests", "of_others"),
        [
            (None, -1, 3),
            (CompressionConfig(), -1, 3),
            (CompressionConfig(level=3), 3, 3),
            (CompressionConfig(level=9), 9, 9),
        ],
    )
    def test_files_are_compressed_at_the_level_that_is_asked_for(
        self,
        storage: Storage,
        spec_version: int,
        compression: CompressionConfig | None,
        of_manifests: int,
        of_others: int,
    ) -> None:
        Repository.create(
            storage, RepositoryConfig(compression=compression), spec_version=spec_version
        ).save_config()
        repo = Repository.open(storage)
        session = repo.writable_session("main")
        zarr.create_array(session.store, name="a", data=np.arange(400) % 7, chunks=1)
        snapshot = session.commit("written")
        backend = repo._engine.assets.backend
        [manifest] = [entry.path for entry in backend.list("manifests/")]
        for path, file_type, level in (
            (manifest, FileType.MANIFEST, of_manifests),
            (f"transactions/{snapshot}", FileType.TRANSACTION_LOG, of_others),
        ):
            data = bytes(backend.get(path).data)
            _, payload = open_file(data, file_type, name=path)
            frames = {n: seal_file(payload, file_type, spec_version, level=n) for n in (-1, 3, 9)}
            assert len(set(frames.values())) == 3
            assert frames[level] == data

    def test_large_manifests_are_not_made_larger_to_save_time(self) -> None:
        repo = Repository.create(icechunk.in_memory_storage())
        session = repo.writable_session("main")
        # Inline chunks of 512 bytes: more than 1 MiB.
        zarr.create_array(session.store, name="a", data=np.arange(2200 * 64) % 7, chunks=64, compressors=None)
        session.commit("written")
        backend = repo._engine.assets.backend
        [path] = [entry.path for entry in backend.list("manifests/")]
        data = bytes(backend.get(path).data)
        _, payload = open_file(data, FileType.MANIFEST, name=path)
        assert data == seal_file(payload, FileType.MANIFEST, 2, level=1)
        assert data != seal_file(payload, FileType.MANIFEST, 2, level=-1)

    def test_the_configuration_of_a_handle_is_a_copy(self, repo: Repository) -> None:
        repo.config.inline_chunk_threshold_bytes = 3
        assert repo.config.inline_chunk_threshold_bytes is None
        assert repo.writable_session("main").config == repo.config

    def test_reopen_shares_what_is_cached(self, repo: Repository) -> None:
        commit_group(repo, "a")
        other = repo.reopen(RepositoryConfig(inline_chunk_threshold_bytes=3))
        assert other.config.inline_chunk_threshold_bytes == 3
        assert other._engine.assets._snapshots is repo._engine.assets._snapshots
        assert other.lookup_branch("main") == repo.lookup_branch("main")


class TestBranches:
    def test_a_branch_lives_and_dies(self, repo: Repository, raises: Raises) -> None:
        tip = commit_group(repo, "a")
        repo.create_branch("dev", INITIAL)
        assert repo.list_branches() == {"main", "dev"}
        assert repo.lookup_branch("dev") == INITIAL
        repo.reset_branch("dev", tip)
        assert repo.lookup_branch("dev") == tip
        repo.delete_branch("dev")
        assert repo.list_branches() == {"main"}
        for gone in (repo.lookup_branch, repo.delete_branch, repo.writable_session):
            with raises(RefNotFoundError, "ref-not-found", "ref not found `dev`"):
                gone("dev")
        with raises(RefNotFoundError, "ref-not-found", "ref not found `dev`"):
            repo.reset_branch("dev", tip)

    def test_main_stays(self, repo: Repository, raises: Raises) -> None:
        with raises(SessionStateError, "cannot-delete-main", "main branch cannot be deleted"):
            repo.delete_branch("main")

    def test_a_name_is_given_once(self, repo: Repository, spec_version: int, raises: Raises) -> None:
        if spec_version == 1:
            error = (
                ConflictError,
                "branch-update-conflict",
                f"branch update conflict: `(None) != (Some({INITIAL}))`",
            )
        else:
            error = (  # type: ignore[assignment]
                AlreadyExistsError,
                "branch-already-exists",
                f"branch already exists `main -> {INITIAL}`",
            )
        with raises(*error):
            repo.create_branch("main", INITIAL)

    def test_a_branch_points_to_a_snapshot_that_exists(
        self, repo: Repository, spec_version: int, raises: Raises
    ) -> None:
        with raises(InvalidInputError, "invalid-snapshot-id", "invalid snapshot id: `NOPE`"):
            repo.create_branch("x", "NOPE")
        with unknown_snapshot(raises, spec_version):
            repo.create_branch("x", UNKNOWN)
        with unknown_snapshot(raises, spec_version):
            repo.reset_branch("main", UNKNOWN)
        assert repo.list_branches() == {"main"}

    def test_a_reset_can_be_conditional(self, repo: Repository, raises: Raises) -> None:
        tip = commit_group(repo, "a")
        with raises(
            ConflictError,
            "branch-update-conflict",
            f"branch update conflict: `(Some({INITIAL})) != (Some({tip}))`",
        ) as raised:
            repo.reset_branch("main", INITIAL, from_snapshot_id=INITIAL)
        assert raised.value.expected_parent == INITIAL
        assert raised.value.actual_parent == tip
        repo.reset_branch("main", INITIAL, from_snapshot_id=tip)
        assert repo.lookup_branch("main") == INITIAL

    def test_names_are_free_in_spec_2_and_have_no_slash_in_spec_1(
        self, repo: Repository, spec_version: int, raises: Raises
    ) -> None:
        repo.create_branch("", INITIAL)
        assert repo.list_branches() == {"main", ""}
        if spec_version == 2:
            repo.create_branch("a/b", INITIAL)
            assert repo.lookup_branch("a/b") == INITIAL
            return
        with raises(InvalidInputError, "invalid-ref-name", "invalid ref name `a/b`"):
            repo.create_branch("a/b", INITIAL)
        with raises(InvalidInputError, "invalid-ref-name", "invalid ref name `a/b`"):
            repo.create_tag("a/b", INITIAL)


class TestTags:
    def test_a_tag_lives_once(self, repo: Repository, spec_version: int, raises: Raises) -> None:
        exists = "tag already exists, tags are immutable: `t`"
        repo.create_tag("t", INITIAL)
        assert repo.list_tags() == {"t"}
        assert repo.lookup_tag("t") == INITIAL
        with raises(AlreadyExistsError, "tag-already-exists", exists):
            repo.create_tag("t", INITIAL)
        repo.delete_tag("t")
        assert repo.list_tags() == set()
        for gone in (repo.lookup_tag, repo.delete_tag):
            with raises(RefNotFoundError, "ref-not-found", "ref not found `t`"):
                gone("t")
        burnt = (
            ("tag-already-exists", exists)
            if spec_version == 1
            else (
                "tag-previously-deleted",
                "icechunk does not allow tag reuse and tag was already deleted `t`",
            )
        )
        with raises(AlreadyExistsError, *burnt):
            repo.create_tag("t", INITIAL)

    def test_a_tag_names_a_snapshot_that_exists(
        self, repo: Repository, spec_version: int, raises: Raises
    ) -> None:
        with unknown_snapshot(raises, spec_version):
            repo.create_tag("t", UNKNOWN)
        assert repo.list_tags() == set()


class TestHistory:
    def test_ancestry_goes_back_to_the_beginning(self, repo: Repository) -> None:
        ids = [commit_group(repo, name) for name in "abc"]
        repo.create_tag("b", ids[1])
        expected = [*reversed(ids), INITIAL]
        assert [info.id for info in repo.ancestry(branch="main")] == expected
        assert [info.id for info in repo.ancestry(tag="b")] == expected[1:]
        infos = list(repo.ancestry(snapshot_id=ids[0]))
        assert [info.parent_id for info in infos] == [INITIAL, None]
        assert infos[0].message == "add a"
        assert infos[0].written_at > infos[1].written_at
        assert repo.lookup_snapshot(ids[0]).id == ids[0]

    def test_a_selector_is_needed_and_only_one(self, repo: Repository) -> None:
        one = "Must provide one of branch, tag, or snapshot_id"
        for call in (repo.ancestry, repo.readonly_session):
            with pytest.raises(ValueError, match=one):
                call()
            with pytest.raises(ValueError, match=one):
                call(branch="main", tag="x")

    def test_what_is_not_there_is_said_at_once(
        self, repo: Repository, spec_version: int, raises: Raises
    ) -> None:
        for call in (repo.ancestry, repo.readonly_session):
            for selector in ({"branch": "zz"}, {"tag": "zz"}):
                with raises(RefNotFoundError, "ref-not-found", "ref not found `zz`"):
                    call(**selector)  # type: ignore[operator]
            with unknown_snapshot(raises, spec_version):
                call(snapshot_id=UNKNOWN)
            with raises(InvalidInputError, "invalid-snapshot-id", "invalid snapshot id: `NOPE`"):
                call(snapshot_id="NOPE")
        with unknown_snapshot(raises, spec_version):
            repo.lookup_snapshot(UNKNOWN)

    def test_a_session_as_of_some_time(self, repo: Repository, raises: Raises) -> None:
        ids = [commit_group(repo, name) for name in "ab"]
        first = repo.lookup_snapshot(ids[0]).written_at
        assert repo.readonly_session("main", as_of=first).snapshot_id == ids[0]
        east = timezone(timedelta(hours=2))
        assert repo.readonly_session("main", as_of=first.astimezone(east)).snapshot_id == ids[0]
        just_before = first - timedelta(microseconds=1)
        assert repo.readonly_session("main", as_of=just_before).snapshot_id == INITIAL
        with raises(
            SnapshotNotFoundError,
            "no-snapshot-at-time",
            "branch main does not have a snapshots before or at 2000-01-01 00:00:00 UTC",
        ):
            repo.readonly_session("main", as_of=datetime(2000, 1, 1, tzinfo=UTC))
        with pytest.raises(TypeError, match="expected a datetime with non-None tzinfo"):
            repo.readonly_session("main", as_of=datetime(2000, 1, 1))
        kind = "branch-not-found" if repo.spec_version == 2 else "ref-not-found"
        with raises(RefNotFoundError, kind, "branch not found `zz`" if repo.spec_version == 2 else "ref not"):
            repo.readonly_session("zz", as_of=first)
        with pytest.raises(ValueError, match="as_of argument must be provided together"):
            repo.readonly_session(tag="main", as_of=first)


def test_a_handle_and_a_reading_session_travel(local_storage: Storage, spec_version: int) -> None:
    repo = Repository.create(
        local_storage, RepositoryConfig(inline_chunk_threshold_bytes=9), spec_version=spec_version
    )
    tip = commit_group(repo, "a")
    copy = pickle.loads(pickle.dumps(repo))
    assert copy.config == repo.config
    assert copy.spec_version == spec_version
    assert copy.lookup_branch("main") == tip
    commit_group(copy, "b")
    session = repo.readonly_session("main")
    travelled = pickle.loads(pickle.dumps(session))
    assert travelled != session
    assert travelled.snapshot_id == session.snapshot_id
    assert {name for name, _ in zarr.open_group(travelled.store, mode="r").members()} == {"a", "b"}
    with pytest.raises(ValueError, match="opt-in to pickle writable sessions"):
        pickle.dumps(repo.writable_session("main"))


def test_a_repository_says_what_it_is(repo: Repository, spec_version: int) -> None:
    text = repr(repo)
    assert text.startswith(f"<icechunk.Repository (v{spec_version})>\nstorage:\n    <icechunk.Storage")
    assert text.endswith("config: <RepositoryConfig ...>\n")
    html = repo._repr_html_()
    assert "icechunk-header" in html
    assert '<summary class="icechunk-field-name">config</summary>' in html
    assert "inline_chunk_threshold_bytes" in html
    assert "RepositoryConfig ..." not in html


def test_a_handle_knows_for_whom_it_works(storage: Storage) -> None:
    labels = icechunk.Attribution(client="a-program/1.0", principal="somebody")
    assert Repository.create(storage).attribution == icechunk.Attribution()
    for handle in (
        Repository.open(storage, attribution=labels),
        Repository.open_or_create(storage, attribution=labels),
        Repository.create(icechunk.in_memory_storage(), attribution=labels),
    ):
        assert handle.attribution == handle.reopen().attribution == labels
        assert pickle.loads(pickle.dumps(handle)).attribution == labels
    with pytest.raises(TypeError, match="attribution must be of type Attribution"):
        Repository.open(storage, attribution="me")  # type: ignore[arg-type]


class TestReadOnly:
    def test_a_repository_whose_status_is_read_only_refuses_every_write(
        self, storage: Storage, raises: Raises
    ) -> None:
        repo = Repository.create(storage)
        repo.create_branch("b", INITIAL)
        repo.create_tag("t", INITIAL)
        session = repo.writable_session("main")
        zarr.create_group(session.store)
        moment = datetime(2027, 1, 15, 8, 0, 0, 1, tzinfo=UTC)
        repo.set_status(RepoStatus(RepoAvailability.read_only, moment, "maintenance"))
        before = sorted(info.path for info in repo._engine.assets.backend.list())
        why = 'Repo status is ReadOnly, set at 2027-01-15 08:00:00.000001 UTC, reason: Some("maintenance")'
        refused = (ReadOnlyError, "read-only-repository")
        for work in (
            lambda: repo.create_branch("c", INITIAL),
            lambda: repo.delete_branch("b"),
            lambda: repo.reset_branch("b", INITIAL),
            lambda: repo.create_tag("u", INITIAL),
            lambda: repo.delete_tag("t"),
            repo.save_config,
            lambda: repo.set_metadata({}),
            lambda: repo.update_metadata({"a": 1}),
            lambda: repo.set_feature_flag("create_tag", False),
        ):
            with raises(*refused, f"the repository status is read-only: {why}"):
                work()
        with raises(*refused, f"the repository status is read-only: Cannot create writable session; {why}"):
            repo.writable_session("main")
        assert sorted(info.path for info in repo._engine.assets.backend.list()) == before
        with raises(*refused, f"session error: the repository status is read-only: {why}"):
            session.commit("no")
        assert session.has_uncommitted_changes
        assert repo.lookup_branch("main") == repo.readonly_session("main").snapshot_id == INITIAL
        repo.set_status(RepoStatus(RepoAvailability.online))
        assert session.commit("now") == repo.lookup_branch("main")

    def test_storage_that_is_read_only_is_not_written_to(
        self, storage: Storage, spec_version: int, monkeypatch: pytest.MonkeyPatch, raises: Raises
    ) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        repo.create_tag("t", INITIAL)
        backend = type(repo._engine.assets.backend)
        monkeypatch.setattr(backend, "can", Capabilities(write=False))
        refused = (ReadOnlyError, "read-only-storage", "the storage used by this Icechunk repository")
        for work in (
            lambda: Repository.create(storage, check_clean_root=False),
            lambda: repo.create_branch("c", INITIAL),
            lambda: repo.delete_branch("main"),
            lambda: repo.reset_branch("main", INITIAL),
            lambda: repo.create_tag("u", INITIAL),
            lambda: repo.delete_tag("t"),
            lambda: repo.writable_session("main"),
            repo.save_config,
            lambda: repo.set_metadata({}),
            lambda: repo.update_metadata({}),
            lambda: repo.set_status(RepoStatus(RepoAvailability.online)),
            lambda: repo.set_feature_flag("create_tag", False),
        ):
            with raises(*refused):
                work()
        assert Repository.open(storage).readonly_session(tag="t").snapshot_id == INITIAL
