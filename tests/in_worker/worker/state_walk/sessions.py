"""The model's sessions, messages and deletions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agents_store_cloudflare.contract.errors import (
    SessionExistsError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.json_types import JsonObject, JsonValue
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import AgentState, CasResult, MergeChanges, MergeResult, SessionTree
from agents_store_cloudflare.state.changes import merge_changes
from state_walk.stored import MOST_STATE_BYTES, REMEMBERED, Commit, GuardedModel, SessionModel, Twin, Write


class SessionsModel(GuardedModel):
    """Sessions as they come and go."""

    def create_session(
        self,
        session_id: str,
        *,
        agent_type: str,
        initial_state: JsonObject,
        parent_session_id: str | None,
        exist_ok: bool,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Twin:
        version = None if exist_ok else 0
        write = Write(
            session_id=session_id,
            operation="create_session",
            token=fencing_token,
            commit_id=commit_id,
            must_exist=False,
            version=version,
        )
        try:
            first = self.guard(write)
        except StaleStateError:
            raise SessionExistsError(session_id) from None
        if first is None and session_id not in self.sessions:
            state = AgentState(session_id=session_id, agent_type=agent_type, custom_state=initial_state)
            state.parent_session_id = parent_session_id
            if parent_session_id is not None:
                parent = self.sessions.get(parent_session_id)
                root = parent.state.root_session_id if parent else None
                state.root_session_id = root or parent_session_id
            self.commit(write, self._start(state), None, 0)
        return self.twin_of(self.sessions[session_id])

    def save_state(
        self,
        session_id: str,
        twin: Twin,
        *,
        expected_version: int | AnyVersion | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> int:
        write = self.save_guard(twin, "save_state", expected_version, fencing_token, commit_id)
        commit = self.guard(write) or self.put(twin, write, None)
        twin.saved(commit)
        return commit.version

    def update_state(
        self,
        session_id: str,
        change: Callable[[AgentState], None],
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Twin:
        session = self.existing(session_id)
        twin = self.twin_of(session)
        wanted = Write(session_id=session_id, operation="update_state", token=fencing_token, commit_id=commit_id)
        if self.remembered(wanted) is not None:
            return twin
        change(twin.state)
        write = self.save_guard(twin, "update_state", None, fencing_token, commit_id)
        twin.saved(self.guard(write) or self.put(twin, write, None))
        return twin

    def load_state(self, session_id: str, *, required: bool = False, messages: Any = "all") -> Twin | None:
        session = self.sessions.get(session_id)
        if session is None:
            if required:
                raise StateNotFoundError(session_id)
            return None
        return self.twin_of(session, {"all": None, "none": 0}.get(messages, messages))

    def exists(self, session_id: str) -> bool:
        return session_id in self.sessions

    session_exists = exists

    def update_status(self, session_id: str, status: str, *, fencing_token: int | None, commit_id: str | None) -> int:
        write = Write(session_id=session_id, operation="update_status", token=fencing_token, commit_id=commit_id)
        return self.change(write, lambda session: setattr(session.state, "status", status)).version

    def compare_and_set_status(
        self, session_id: str, expected: Sequence[str], new: str, *, fencing_token: int | None, commit_id: str | None
    ) -> CasResult:
        write = Write(
            session_id=session_id, operation="compare_and_set_status", token=fencing_token, commit_id=commit_id
        )
        commit = self.guard(write)
        if commit is None:
            session = self.sessions[session_id]
            if session.state.status not in expected:
                return CasResult(
                    ok=False,
                    new_version=None,
                    current_status=session.state.status,
                    current_version=session.state.version,
                )
            session.state.status = new
            commit = self.commit(write, session, None, len(session.state.messages))
        return CasResult(ok=True, new_version=commit.version, current_status=new, current_version=commit.version)

    def increment_resume_count(self, session_id: str, *, fencing_token: int | None, commit_id: str | None) -> int:
        return self._increment("resume_count", session_id, fencing_token, commit_id)

    def increment_step_count(self, session_id: str, *, fencing_token: int | None, commit_id: str | None) -> int:
        return self._increment("step_count", session_id, fencing_token, commit_id)

    def _increment(self, name: str, session_id: str, token: int | None, commit_id: str | None) -> int:
        def add(session: SessionModel) -> int:
            count: int = getattr(session.state, name) + 1
            setattr(session.state, name, count)
            return count

        write = Write(session_id=session_id, operation=f"increment_{name}", token=token, commit_id=commit_id)
        return self.change(write, add).result

    def merge_custom_state(
        self,
        session_id: str,
        changes: MergeChanges | Mapping[str, JsonValue],
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> MergeResult:
        self.existing(session_id)

        def merge(session: SessionModel) -> tuple[str, ...]:
            state = session.state
            applied = merge_changes(session_id, state.custom_state, changes, max_bytes=MOST_STATE_BYTES)
            state.custom_state = applied.custom_state
            return applied.warnings

        write = Write(session_id=session_id, operation="merge_custom_state", token=fencing_token, commit_id=commit_id)
        commit = self.change(write, merge)
        return MergeResult(version=commit.version, warnings=commit.result)

    def list_sessions(
        self, *, prefix: str | None, agent_type: str | None, status: str | None, parent_session_id: str | None
    ) -> list[AgentState]:
        """All of them, whatever the pages."""
        found = [session.state for session in reversed(self.sessions.values())]
        return [
            replace(state, messages=[])
            for state in found
            if state.session_id.startswith(prefix or "")
            and agent_type in {None, state.agent_type}
            and status in {None, state.status}
            and parent_session_id in {None, state.parent_session_id}
        ]

    def delete_session(self, session_id: str, *, fencing_token: int | None, commit_id: str | None) -> bool:
        write = Write(
            session_id=session_id,
            operation="delete_session",
            token=fencing_token,
            commit_id=commit_id,
            must_exist=False,
        )
        if (first := self.guard(write)) is not None:
            return bool(first.result)
        existed = session_id in self.sessions
        self._delete(self._tree([session_id]))
        if commit_id is not None:
            commit = Commit(
                commit_id=commit_id,
                operation="delete_session",
                requests={self.request},
                past=True,
                version=0,
                count_before=0,
                count_after=0,
                checkpoint_number=0,
                at_ms=self._now_ms(),
                epoch=0,
                result=existed,
            )
            self.deletions[session_id] = [*self.deletions.get(session_id, []), commit][-REMEMBERED:]
        elif existed:
            self.deletions.setdefault(session_id, [])
        return existed

    def _delete(self, ids: Sequence[str]) -> None:
        for session_id in ids:
            if children := {child: self.lives.get(child, 0) + 1 for child in self._children(session_id)}:
                self.left_children[session_id] = {**self.left_children.get(session_id, {}), **children}
        for session_id in ids:
            session = self.sessions.pop(session_id)
            self.lives[session_id] = self.lives.get(session_id, 0) + 1
            commits = [*self.past.get(session_id, []), *session.commits[-REMEMBERED:]]
            self.past[session_id] = [replace(commit, past=True) for commit in commits[-REMEMBERED:]]
            if session.state.stream_id != session_id:
                self.left_streams[session_id] = session.state.stream_id

    def _tree(self, roots: Iterable[str]) -> list[str]:
        tree = [session_id for session_id in roots if session_id in self.sessions]
        for session_id in tree:
            tree += [child for child in self._children(session_id) if child not in tree]
        return tree

    def _children(self, session_id: str) -> list[str]:
        remote = {ref.sub_session_id for ref in self.sessions[session_id].refs if ref.location == "remote"}
        return [
            child
            for child, session in self.sessions.items()
            if session.state.parent_session_id == session_id and child not in remote
        ]

    def _lost(self, root: str) -> list[str]:
        """The descendants that deletions of the state have left, without those that are there again."""
        lost = [root]
        for session_id in lost:
            children = self.left_children.get(session_id, {})
            lost += [child for child, lives in children.items() if self.lives[child] == lives and child not in lost]
        return [session_id for session_id in lost if session_id not in self.sessions]

    def _own_streams(self, root: str, tree: list[str]) -> set[str]:
        if not tree:
            return set()
        others = [session for each, session in self.sessions.items() if each not in tree]
        used = {name for session in others for name in (session.state.session_id, session.state.stream_id)}
        lost = self._lost(root)
        left = {self.left_streams[each] for each in (root, *lost) if each in self.left_streams}
        return ({self.sessions[each].state.stream_id for each in tree} | {*lost} | left) - used

    def get_session_tree(self, session_id: str) -> SessionTree:
        """Its tuples sorted: their order is nobody's business."""
        tree = self._tree([session_id])
        refs = [ref for each in tree for ref in self.sessions[each].refs]
        return SessionTree(
            session_ids=tuple(sorted(tree)),
            stream_ids=tuple(sorted(self._own_streams(session_id, tree))),
            remote_sub_session_ids=tuple(sorted(ref.sub_session_id for ref in refs if ref.location == "remote")),
        )

    def cleanup_expired_sessions(self, now: int) -> list[str]:
        """All that expired, sorted."""
        expired = [
            session_id
            for session_id, session in self.sessions.items()
            if session.state.expires_at is not None and session.state.expires_at <= now
        ]
        tree = self._tree(expired)
        self._delete(tree)
        return sorted(tree)

    def reset_fence(self, session_id: str) -> None:
        if session_id in self.fences:
            self.fences[session_id] = 0
