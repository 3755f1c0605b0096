"""Draws for the calls around an agent's steps."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

from agents_store_cloudflare.contract.arguments import UNSET
from agents_store_cloudflare.contract.state.marks import ANY_VERSION
from agents_store_cloudflare.contract.state.records import StagedChange, SubSessionRef
from state_walk.draws import CALLS, RUN_STATUSES, RUNS, STEPS, VALUES, Call, Draws


class StepDraws(Draws):
    """Calls on checkpoints, staged changes, runs, references, and deletions."""

    def _kept_beside(self, random: Random) -> dict[str, Any]:
        return {"run_id": random.choice([None, "r1"]), "stream_sequence": random.choice([None, 0, 17])}

    def _save_checkpoint(self, random: Random) -> Call:
        options = {**self._kept_beside(random), **self._write(random)}
        if random.randrange(2):
            held = self._changed(random)
            return Call(name="save_checkpoint", arguments=(held.real.session_id, held), options=options)
        return Call(name="save_checkpoint", arguments=(self._id(random), None), options=options)

    def _checkpoint(self, random: Random) -> tuple[str, str]:
        """A session and a checkpoint id: one that is kept, or was, or another session's, or nonsense."""
        kept = [
            (session_id, each.bare.id)
            for session_id, model in self._model.sessions.items()
            for each in model.checkpoints
        ]
        if kept and random.randrange(5):
            return random.choice(kept)
        session_id = self._id(random)
        known = random.choice(self._checkpoint_ids) if self._checkpoint_ids else "nonsense"
        return session_id, random.choice([known, f"cpv1-{session_id}-s0-t1-00000f", "cpv1-nonsense"])

    def _get_checkpoint(self, random: Random) -> Call:
        return Call(name="get_checkpoint", arguments=self._checkpoint(random), options={})

    def _get_latest_checkpoint(self, random: Random) -> Call:
        return Call(name="get_latest_checkpoint", arguments=(self._id(random),), options={})

    def _restore_checkpoint(self, random: Random) -> Call:
        return Call(name="restore_checkpoint", arguments=self._checkpoint(random), options=self._write(random))

    def _fork_session(self, random: Random) -> Call:
        free = [each for each in self._ids if each not in self._model.sessions]
        arguments = (*self._checkpoint(random), random.choice(free if free and random.randrange(3) else self._ids))
        return Call(name="fork_session", arguments=arguments, options=self._write(random))

    def _prune_checkpoints(self, random: Random) -> Call:
        keep_last, age_ms = random.choice([(1, None), (2, None), (3, 5), (None, 20), (None, 0)])
        options = {"keep_last": keep_last, "older_than_ms": age_ms, **self._write(random)}
        return Call(name="prune_checkpoints", arguments=(self._id(random),), options=options)

    def _stage_changes(self, random: Random) -> Call:
        patch: list[Any] = [
            {"op": "add", "path": "/list", "value": deepcopy(random.choice(VALUES))},
            {"op": random.choice(["add", "add", "remove"]), "path": random.choice(["/n", "/o", "/list/-"]), "value": 1},
        ]
        change = StagedChange(
            tool_call_id=random.choice(CALLS),
            patches=patch[: random.randrange(3)],
            merge_changes=random.choice([None, self._merge(random)]),
            timestamp=random.choice([None, None, 5, self._clock.at_ms]),
        )
        arguments = (self._id(random), random.choice(STEPS), change)
        return Call(name="stage_changes", arguments=arguments, options=self._write(random))

    def _promote_staging(self, random: Random) -> Call:
        arguments = (self._id(random), random.choice(STEPS))
        return Call(name="promote_staging", arguments=arguments, options=self._write(random))

    def _discard_staging(self, random: Random) -> Call:
        arguments = (self._id(random), random.choice(STEPS))
        return Call(name="discard_staging", arguments=arguments, options=self._write(random))

    def _save_and_promote(self, random: Random) -> Call:
        held = self._changed(random)
        options = {
            "step_id": random.choice(STEPS),
            "checkpoint": random.randrange(2) == 0,
            "expected_version": random.choice([None, None, ANY_VERSION]),
            **self._kept_beside(random),
            **self._write(random),
        }
        arguments = (held.real.session_id, held)
        return Call(name="save_state_and_promote_staging", arguments=arguments, options=options)

    def _start_run(self, random: Random) -> Call:
        options = {
            "expect_statuses": random.choice([None, None, ["active", "running"], []]),
            "expect_current_run_id": random.choice([UNSET, UNSET, UNSET, UNSET, None, *RUNS[:3]]),
            "status": random.choice(RUN_STATUSES[:2]),
            "step_count": random.randrange(3),
            "start_sequence": random.choice([None, 3]),
            **self._write(random),
        }
        return Call(name="start_run", arguments=(self._id(random), random.choice(RUNS)), options=options)

    def _update_run(self, random: Random) -> Call:
        options = {
            "status": random.choice([None, *RUN_STATUSES]),
            "step_count": random.choice([None, 5]),
            "error": random.choice([UNSET, None, "", "it's"]),
            **self._write(random),
        }
        known = [(session_id, run.run_id) for session_id, model in self._model.sessions.items() for run in model.runs]
        arguments = random.choice(known) if known and random.randrange(5) else (self._id(random), random.choice(RUNS))
        return Call(name="update_run", arguments=arguments, options=options)

    def _add_sub_session_refs(self, random: Random) -> Call:
        refs = [
            SubSessionRef(
                sub_session_id=random.choice(self._ids),
                agent_type="y",
                location=random.choice(["local", "remote"]),
                started_at=random.choice([None, 5]),
                output=deepcopy(random.choice(VALUES)),
            )
            for _ in range(random.randrange(1, 4))
        ]
        return Call(name="add_sub_session_refs", arguments=(self._id(random), refs), options=self._write(random))

    def _update_sub_session_ref(self, random: Random) -> Call:
        options = {
            "status": random.choice([None, "completed"]),
            "completed_at": random.choice([None, 9]),
            "output": random.choice([UNSET, *VALUES]),
            "error": random.choice([UNSET, None, "e\x00"]),
            **self._write(random),
        }
        known = [
            (session_id, ref.sub_session_id) for session_id, model in self._model.sessions.items() for ref in model.refs
        ]
        arguments = (
            random.choice(known) if known and random.randrange(5) else (self._id(random), random.choice(self._ids))
        )
        return Call(name="update_sub_session_ref", arguments=arguments, options=options)

    def _get_session_tree(self, random: Random) -> Call:
        return Call(name="get_session_tree", arguments=(self._id(random),), options={})

    def _delete_session(self, random: Random) -> Call:
        options = self._write(random)
        if random.randrange(4) == 0:
            options["commit_id"] = None
        return Call(name="delete_session", arguments=(random.choice(self._ids),), options=options)

    def _cleanup(self, random: Random) -> Call:
        return Call(name="cleanup_expired_sessions", arguments=(self._clock.at_ms,), options={})

    def _reset_fence(self, random: Random) -> Call:
        return Call(name="reset_fence", arguments=(self._id(random),), options={})
