"""What the machine knows of the two repositories: what both have shown, and how a step is taken."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.interop.machine.pair import Pair
from tests.interop.machine.vocabulary import FORKS, PATHS, SESSIONS, all_indices, grid_of

# Set by whoever runs the machine: one pair serves many programs.
PAIR: list[Pair] = []


class MachineState(RuleBasedStateMachine):
    """The part of the machine that has no rules."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = PAIR[0]
        self.spec_version = 0
        self.sessions: dict[str, dict[str, Any]] = {}
        self.history: dict[str, Any] = {}
        self.snapshots: list[str] = []

    # -- steps ------------------------------------------------------------------------------------

    def begin(self, **arguments: Any) -> None:
        self.spec_version = arguments["spec_version"]
        self.sessions.clear()
        self.snapshots = ["s0"]
        self.pair.begin(**arguments)
        self.look()

    def session_step(self, do: str, slot: str, **arguments: Any) -> Any:
        """A step after which only one session looks different."""
        answer = self.pair.both(do, slot=slot, **arguments)
        self._look_at_session(slot, closed="closed" in answer)
        return answer

    def step(self, do: str, **arguments: Any) -> Any:
        """A step after which everything is looked at."""
        answer = self.pair.both(do, **arguments)
        if "closed" in answer:
            self.sessions.pop(answer["closed"], None)
        self.look()
        return answer

    def snapshot_step(self, do: str, slot: str, **arguments: Any) -> Any:
        """A step that makes a snapshot, if it succeeds."""
        label = f"s{len(self.snapshots)}"
        answer = self.step(do, slot=slot, label=label, **arguments)
        if "ok" in answer:
            self.snapshots.append(label)
            self.pair.both("look_up", snapshot=label)
            self.pair.both("diff", from_snapshot="s0", to_snapshot=label)
            parent = self.sessions[slot]["snapshot"] if slot in self.sessions else None
            assert parent == label, "a session is at the snapshot that it made"
        return answer

    def swap(self) -> None:
        self.sessions.clear()
        self.pair.swap()
        self.look()

    def look(self) -> None:
        """Compare the histories and all open sessions."""
        self.history = self.pair.both("look_at_history")["ok"]
        for slot in list(self.sessions):
            self._look_at_session(slot)

    def _look_at_session(self, slot: str, *, closed: bool = False) -> None:
        if closed:
            self.sessions.pop(slot, None)
            return
        answer = self.pair.both("look_at_session", slot=slot)
        if "closed" in answer:
            self.sessions.pop(slot, None)
            return
        assert "ok" in answer, answer
        self.sessions[slot] = answer["ok"]

    def teardown(self) -> None:
        """Compare all snapshots, and again after each side has opened the other's repository."""
        if not self.history or self.pair.has_ended:
            return
        for _ in range(2):
            for label in self.snapshots:
                self.pair.both("look_at_snapshot", snapshot=label)
            self.swap()
        self.pair.look_at_folders()

    # -- choices ----------------------------------------------------------------------------------

    def slots(self, *, forks: bool = True, only_forks: bool = False) -> list[str]:
        """The open sessions that can be chosen, those that can be written to first."""
        names = FORKS if only_forks else [*SESSIONS, *FORKS] if forks else SESSIONS
        return sorted((name for name in names if name in self.sessions), key=self._is_read_only)

    def _is_read_only(self, slot: str) -> bool:
        return bool(self.sessions[slot]["read_only"])

    def draw_slot(self, data: st.DataObject, *, forks: bool = True) -> str:
        """An open session that can be written to, made if there is none; or, seldom, any."""
        slots = self.slots(forks=forks)
        # What is read-only refuses; to see that once in a while is enough.
        if data.draw(st.integers(0, 9), "any slot if 9") < 9:
            slots = [slot for slot in slots if not self._is_read_only(slot)]
        if not slots:
            self.open_slot("0", "writable", branch=min(self.history["branches"], key=_main_first))
            slots = ["0"]
        return str(data.draw(st.sampled_from(slots), "slot"))

    def open_slot(self, slot: str, kind: str, **which: Any) -> None:
        """Open a session; if that fails, the slot keeps the one that it has."""
        if "ok" in self.pair.both("open", slot=slot, kind=kind, **which):
            self._look_at_session(slot)

    def nodes(self, slot: str, node_type: str | None = None) -> list[str]:
        """The paths of a session's nodes, without their leading slash."""
        nodes = self.sessions[slot]["nodes"]
        return [path.strip("/") for path, node in nodes.items() if node_type in {None, node.get("node_type")}]

    def draw_path(self, data: st.DataObject, slot: str, node_type: str | None = None) -> str:
        """The path of a node, or, seldom, of anything."""
        nodes = self.nodes(slot, node_type)
        if nodes and data.draw(st.integers(0, 7), "any path if 7") < 7:
            return str(data.draw(st.sampled_from(nodes), "path"))
        return str(data.draw(st.sampled_from(PATHS), "path"))

    def places(self, slot: str, node_type: str) -> list[str]:
        """Where a node may be set: nothing is ever below an array."""
        arrays = self.nodes(slot, "array")
        nodes = self.nodes(slot) if node_type == "array" else []
        return [
            path
            for path in PATHS
            # An array at the root, made and deleted again, stays a change in the reference: of nothing.
            if (path or node_type != "array")
            and not any(is_below(path, array) for array in arrays)
            and not any(is_below(node, path) for node in nodes)
        ] or ["a"]

    def num_dimensions(self, slot: str, path: str) -> int | None:
        """How many dimensions the array at a path has; `None` if there is none."""
        shape = self.sessions[slot]["nodes"].get("/" + path, {}).get("shape")
        return None if shape is None else len(shape)

    def num_chunks(self, slot: str, path: str) -> list[int]:
        """How many chunks an array has along each dimension; of what is none, those of a small one."""
        node = self.sessions[slot]["nodes"].get("/" + path)
        if node is None or node.get("node_type") != "array":
            return [2]
        return grid_of(node["shape"], node["chunk_grid"]["configuration"]["chunk_shape"])

    def chunk_indices(self, slot: str, path: str) -> list[list[int]]:
        return all_indices(self.num_chunks(slot, path))

    def draw_snapshot(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(self.snapshots[::-1]), "snapshot"))


def _main_first(branch: str) -> tuple[bool, str]:
    return branch != "main", branch


def is_below(path: str, other: str) -> bool:
    return path != other and (not other or path.startswith(other + "/"))
