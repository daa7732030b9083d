"""Branches and tags with names that local storage encodes."""

from __future__ import annotations

import icechunk


def create(path: str, names: list[str]) -> None:
    """Make a spec 1 repository with a branch and a tag of each name, and a tag of each that was deleted."""
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(path), spec_version=1)
    tip = repo.lookup_branch("main")
    for name in names:
        repo.create_branch(name, tip)
        repo.create_tag(name, tip)
        repo.create_tag(f"gone {name}", tip)
        repo.delete_tag(f"gone {name}")


def use(path: str, names: list[str]) -> dict[str, list[str]]:
    """Write to each branch, look each tag up, and try to make all of them again: what came of it, by name."""
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    answers = {}
    for name in names:
        answer = []
        session = repo.writable_session(name)
        session.commit("more", allow_empty=True)
        answer.append(str(len(list(repo.ancestry(branch=name)))))
        answer.append(repo.lookup_tag(name))
        tip = repo.lookup_branch("main")
        for what, make in (("branch", repo.create_branch), ("tag", repo.create_tag)):
            for wanted in (name, f"gone {name}")[: 1 if what == "branch" else 2]:
                try:
                    make(wanted, tip)
                except icechunk.IcechunkError as error:
                    answer.append(str(error.kind))  # type: ignore[attr-defined]
                else:
                    answer.append("made again")
        answers[name] = answer
    return answers
