"""The code of the pages type-checks as a user's own would: pyright in its standard mode finds nothing."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tools.places import NODE_BIN, ROOT, VENV_PYTHON

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WHOLE_MODULES = re.compile(r"<!-- run -->\n```python\n(.*?)```", re.DOTALL)
STRANGERS = """
from agents_store_cloudflare import AgentState, Message, TokenCounts

openai: Message = {"role": "tool", "content": "4", "tool_call_id": "call-1"}
calling: Message = {"role": "assistant", "content": None, "tool_calls": [{"id": "call-1", "type": "function"}]}
anthropic: Message = {"role": "assistant", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
state = AgentState(session_id="ada", agent_type="demo", messages=[openai, calling, anthropic])
state.custom_state["notes"] = []
state.custom_state["notes"].append("greeted")
state.custom_state["plan"]["steps"][0] += 1
text: str = state.messages[0].get("content", "").upper()
total: int = TokenCounts(prompt=1, completion=2).total
"""


def _check(folder: Path) -> list[str]:
    configuration = {
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "venvPath": str(ROOT),
        "venv": VENV_PYTHON.parents[1].name,
        "stubPath": str(ROOT / "typings"),
        "extraPaths": [str(ROOT / "build/package")],
        "reportMissingModuleSource": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(configuration))
    environment = {**os.environ, "PATH": f"{NODE_BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [str(NODE_BIN / "pyright"), "--outputjson", "-p", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] > 0
    return [f"{Path(each['file']).name}: {each['message']}" for each in found["generalDiagnostics"]]


def test_marked_code_of_all_pages(tmp_path: Path) -> None:
    """Every block that is a whole module has no error."""
    for page in PAGES:
        for number, code in enumerate(WHOLE_MODULES.findall(page.read_text())):
            (tmp_path / f"{page.stem.replace('-', '_')}_{number}.py").write_text(code)
    assert _check(tmp_path) == []


def test_messages_of_other_libraries_and_user_json(tmp_path: Path) -> None:
    """The keys of OpenAI and Anthropic are known, and stored user JSON needs no casts."""
    (tmp_path / "strangers.py").write_text(STRANGERS)
    assert _check(tmp_path) == []


@pytest.mark.parametrize("mistake", ['message: Message = {"role": 5}', "AgentState(agent_type='x')"])
def test_mistakes_are_found(tmp_path: Path, mistake: str) -> None:
    """The checker finds a message whose role is a number, and a state without an id."""
    (tmp_path / "mistake.py").write_text(f"from agents_store_cloudflare import AgentState, Message\n\n{mistake}\n")
    assert _check(tmp_path) != []
