"""The model's messages and checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

from agents_store_cloudflare.contract.errors import (
    CheckpointKeptError,
    CheckpointNotFoundError,
    InvalidArgumentError,
    SessionExistsError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.state.records import AgentState, Checkpoint, Message, MessagePage
from state_walk.sessions import SessionsModel
from state_walk.stored import Commit, Kept, SessionModel, Twin, Write

_CHECKPOINT_ID = re.compile("cpv1-(.+)-s[0-9]+-t[0-9]+-[0-9a-f]{6}")


class HistoryModel(SessionsModel):
    """Histories."""

    def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        session = self.sessions.get(session_id)
        stored = session.state.messages if session else []
        page = deepcopy(stored[offset : offset + limit])
        if not include_thinking:
            page = [cast("Message", {key: message[key] for key in message if key != "thinking"}) for message in page]  # type: ignore[literal-required]
        return MessagePage(messages=page, total=len(stored), has_more=offset + len(page) < len(stored))

    def append_messages(
        self, session: str | Twin, messages: Iterable[Message], *, fencing_token: int | None, commit_id: str | None
    ) -> int:
        twin = session if isinstance(session, Twin) else None
        session_id = session.state.session_id if isinstance(session, Twin) else session
        if twin is not None and twin.new_messages():
            raise InvalidArgumentError("not stored yet")
        added = deepcopy(list(messages))
        write = Write(session_id=session_id, operation="append_messages", token=fencing_token, commit_id=commit_id)
        commit = self.change(write, lambda stored: stored.state.messages.extend(deepcopy(added)))
        if (
            twin is not None
            and not commit.past
            and (
                (commit.version, commit.epoch, commit.count_before) == (twin.state.version + 1, twin.epoch, twin.count)
            )
        ):
            twin.state.messages += added
            twin.saved(commit)
        return commit.count_before

    def truncate_messages(
        self, session_id: str, count: int, *, drop_checkpoints: bool, fencing_token: int | None, commit_id: str | None
    ) -> int:
        write = Write(
            session_id=session_id,
            operation="truncate_messages",
            token=fencing_token,
            commit_id=commit_id,
            conditions=() if drop_checkpoints else (lambda: self._nothing_kept_above(session_id, count),),
        )
        session = self.sessions.get(session_id)
        nothing_goes = session is not None and len(session.state.messages) <= count
        return self.change(write, lambda session: self._cut(session, count), touches=nothing_goes).version

    def _cut(self, session: SessionModel, count: int) -> None:
        if len(session.state.messages) > count:
            session.epoch = self.new_epoch()
        del session.state.messages[count:]
        session.checkpoints = [kept for kept in session.checkpoints if kept.bare.message_count <= count]

    def _nothing_kept_above(self, session_id: str, count: int) -> None:
        for kept in self.sessions[session_id].checkpoints[-1:]:
            if kept.bare.message_count > count:
                raise CheckpointKeptError(session_id, count=count, kept=kept.bare.message_count)

    def replace_messages(
        self,
        session_id: str,
        messages: Iterable[Message],
        *,
        expected_version: int,
        drop_checkpoints: bool,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> int:
        write = Write(
            session_id=session_id,
            operation="replace_messages",
            token=fencing_token,
            commit_id=commit_id,
            version=expected_version,
            conditions=() if drop_checkpoints else (lambda: self._nothing_kept_above(session_id, 0),),
        )

        def put(session: SessionModel) -> None:
            self._cut(session, 0)
            session.epoch = self.new_epoch()
            session.state.messages = deepcopy(list(messages))

        return self.change(write, put).version

    def _keep(self, session: SessionModel, run_id: str | None, stream_sequence: int | None) -> Checkpoint:
        """Keep the session as it stands; its number is one more than the last."""
        state = deepcopy(session.state)
        now_ms = self._now_ms()
        state.updated_at = now_ms
        bare = Checkpoint(
            id=f"cpv1-{state.session_id}-s{state.step_count}-t{now_ms}-{session.checkpoint_count:06x}",
            session_id=state.session_id,
            run_id=run_id,
            step_count=state.step_count,
            status=state.status,
            message_count=len(state.messages),
            timestamp=now_ms,
            stream_sequence=stream_sequence,
        )
        session.checkpoints.append(Kept(number=session.checkpoint_count, bare=bare, state=state))
        return bare

    def save_checkpoint(
        self,
        session_id: str,
        twin: Twin | None,
        *,
        run_id: str | None,
        stream_sequence: int | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Checkpoint:
        if twin is None:
            write = Write(session_id=session_id, operation="save_checkpoint", token=fencing_token, commit_id=commit_id)
        else:
            write = self.save_guard(twin, "save_checkpoint", None, fencing_token, commit_id)
        commit = self.guard(write)
        repeated = commit is not None
        if commit is None:
            commit = self._put_and_count(twin, write, None)
        if twin is not None:
            twin.saved(commit)
        if not repeated:
            session = self.sessions[session_id]
            session.kept_by[commit.commit_id] = self._keep(session, run_id, stream_sequence)
        return self.sessions[session_id].kept_by[commit.commit_id]

    def _put_and_count(self, twin: Twin | None, write: Write, result: Any, custom_state: Any = None) -> Commit[Any]:
        if twin is None:
            session = self.sessions[write.session_id]
            session.checkpoint_count += 1
            return self.commit(write, session, result, len(session.state.messages), touches=True)
        commit = self.put(twin, write, result, custom_state)
        session = self.sessions[write.session_id]
        session.checkpoint_count += 1
        commit.checkpoint_number = session.checkpoint_count
        return commit

    def _whole(self, session: SessionModel, kept: Kept) -> Checkpoint:
        state, now = deepcopy(kept.state), session.state
        state.created_at = now.created_at
        state.root_session_id = now.root_session_id
        return replace(kept.bare, state=state)

    def all_checkpoints(self, session_id: str) -> list[Checkpoint]:
        """With their states, the newest first."""
        session = self.sessions.get(session_id)
        return [self._whole(session, kept) for kept in reversed(session.checkpoints)] if session else []

    def get_checkpoint(self, session_id: str, checkpoint_id: str) -> Checkpoint | None:
        return next((each for each in self.all_checkpoints(session_id) if each.id == checkpoint_id), None)

    def get_latest_checkpoint(self, session_id: str) -> Checkpoint | None:
        return next(iter(self.all_checkpoints(session_id)), None)

    def _found(self, session_id: str, checkpoint_id: str) -> Kept:
        if session_id not in self.sessions:
            raise StateNotFoundError(session_id)
        for kept in self.sessions[session_id].checkpoints:
            if kept.bare.id == checkpoint_id:
                return kept
        raise CheckpointNotFoundError(session_id, checkpoint_id)

    def restore_checkpoint(
        self, session_id: str, checkpoint_id: str, *, fencing_token: int | None, commit_id: str | None
    ) -> Twin:
        _check_name(session_id, checkpoint_id)

        def condition() -> None:
            self._found(session_id, checkpoint_id)

        def restore(session: SessionModel) -> None:
            kept = self._found(session_id, checkpoint_id)
            if len(session.state.messages) > kept.bare.message_count:
                session.epoch = self.new_epoch()
            restored, now = deepcopy(kept.state), session.state
            restored.version, restored.created_at = now.version, now.created_at
            restored.root_session_id, restored.expires_at = now.root_session_id, now.expires_at
            session.state = restored
            session.checkpoints = [each for each in session.checkpoints if each.number <= kept.number]

        write = Write(
            session_id=session_id,
            operation="restore_checkpoint",
            token=fencing_token,
            commit_id=commit_id,
            conditions=(condition,),
        )
        self.change(write, restore)
        return self.twin_of(self.sessions[session_id])

    def fork_session(
        self,
        session_id: str,
        checkpoint_id: str,
        new_session_id: str,
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Twin:
        if session_id == new_session_id:
            raise InvalidArgumentError("its own id")
        _check_name(session_id, checkpoint_id)

        def condition() -> None:
            self._found(session_id, checkpoint_id)

        write = Write(
            session_id=new_session_id,
            operation="fork_session",
            token=fencing_token,
            commit_id=commit_id,
            must_exist=False,
            version=0,
            conditions=(condition,),
        )
        try:
            first = self.guard(write)
        except StaleStateError:
            raise SessionExistsError(new_session_id) from None
        if first is None:
            kept = self._found(session_id, checkpoint_id)
            deadline = self.sessions[session_id].state.expires_at
            forked = replace(
                deepcopy(kept.state),
                session_id=new_session_id,
                stream_id=new_session_id,
                parent_session_id=None,
                root_session_id=None,
                expires_at=deadline if deadline is not None and deadline > self._now_ms() else None,
            )
            self.commit(write, self._start(forked), None, 0)
        return self.twin_of(self.sessions[new_session_id])

    def prune_checkpoints(
        self,
        session_id: str,
        *,
        keep_last: int | None,
        older_than_ms: int | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> int:
        def prune(session: SessionModel) -> int:
            keep = max(len(session.checkpoints) - (keep_last or 1), 0)
            before = None if older_than_ms is None else self.database_now_ms() - older_than_ms
            gone = [each for each in session.checkpoints[:keep] if before is None or each.bare.timestamp < before]
            session.checkpoints = [each for each in session.checkpoints if each not in gone]
            return len(gone)

        write = Write(session_id=session_id, operation="prune_checkpoints", token=fencing_token, commit_id=commit_id)
        return self.change(write, prune, touches=True).result

    def state_of(self, session_id: str) -> AgentState | None:
        """What `load_state` gives."""
        session = self.sessions.get(session_id)
        return session.state if session else None


def _check_name(session_id: str, checkpoint_id: str) -> None:
    found = _CHECKPOINT_ID.fullmatch(checkpoint_id)
    if found is None or found[1] != session_id:
        raise CheckpointNotFoundError(session_id, checkpoint_id)
