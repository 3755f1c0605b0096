"""A Worker that changes one session, one call a request: POST /{call}/{session}/{number}; GET /look/{session} shows the session."""

import json
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import AgentState, D1StateStore, StagedChange, run_migration

__all__ = ["Default"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Answer one command."""
        call, session_id, number = [*request.url.split("/")[3:], "", ""][:3]
        store = D1StateStore(self.env.AGENT_DB)
        match call:
            case "make":
                await run_migration(self.env.AGENT_DB)
                await store.create_session(session_id, agent_type="x")
            case "merge":
                await store.merge_custom_state(session_id, {"numbers": [number]})
            case "update":

                def add(state: AgentState) -> None:
                    state.custom_state.setdefault("numbers", []).append(number)

                await store.update_state(session_id, add)
            case "promote":
                change = StagedChange(tool_call_id=number, merge_changes={"numbers": [number]})
                await store.stage_changes(session_id, number, change)
                await store.promote_staging(session_id, number)
            case "append":
                await store.append_messages(session_id, [{"role": "user", "content": number}])
            case "look":
                state = await store.load_state(session_id, required=True)
                return Response(json.dumps({"numbers": state.custom_state.get("numbers"), "messages": state.messages}))
            case _:
                pass
        return Response("done")
