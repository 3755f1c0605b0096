"""Whatever is stored and whatever is asked, the console answers, and no text becomes an element."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings, strategies as st

from agents_store_cloudflare import AgentState, HttpRequest, HttpResponse
from tests.console.conftest import HOST, Parsed, Site
from tests.lengths import length

PIECES = st.sampled_from(
    [
        *("<script>", "</pre>", "<img src=x onerror=a>", "\"'", "&lt;", "\x1b[2J", "\u202e", "\x00", "javascript:a"),
        *("```", "]]>", "<!--", "é日本"),
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=4).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {"role": TEXTS | st.sampled_from(["user", "assistant", "tool"])},
    optional=dict.fromkeys(
        ("content", "thinking", "toolCalls", "tool_calls", "name", "toolName", "tool_call_id", "metadata"), VALUES
    ),
)
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "a",
        "header",
        "span",
        "nav",
        "main",
        "h1",
        "h2",
        "footer",
    ),
    *(
        "p",
        "div",
        "dl",
        "dt",
        "dd",
        "section",
        "details",
        "summary",
        "small",
        "pre",
        "code",
        "ol",
        "li",
        "form",
        "input",
    ),
    *(
        "button",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "time",
        "strong",
        "b",
        "label",
        "select",
        "option",
    ),
}
PAGES = st.sampled_from(
    [
        *("", "session", "messages", "message", "state", "value", "compare", "checkpoints", "runs", "stream", "usage"),
        *("budgets", "x", "usage.csv", "act/fork", "act/delete", "act/raise-budget", "act/x", "events"),
        *("assets/console.js", "assets/../x"),
    ]
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("id", "n", "from", "to", "at", "cursor", "path", "by", "before", "after", "view", "prefix"),
                *("scope", "checkpoint"),
            ]
        ),
        st.sampled_from(
            [
                *("s", "0", "-1", "9" * 20, "%", "%ff", "%00", "now", "/a", "/0", "", "tenant", "running", "[]"),
                "cpv1-s-s0-t0-000001",
            ]
        )
        | TEXTS.map(lambda text: text.encode().hex()),
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


def _check(page: str) -> None:
    parsed = Parsed(page)
    assert {tag for tag, _ in parsed.elements} <= ALLOWED
    assert not any(name.startswith("on") or name == "style" for _, facts in parsed.elements for name in facts)
    assert all(link.startswith(("/console", "#")) for link in parsed.links())
    assert [facts.get("src") for facts in parsed.tags("script")] == ["/console/assets/console.js?v=1"]
    assert not {character for character in page if ord(character) < 0x20} - {"\n", "\t"}


@settings(max_examples=length(short=60, long=2_000), deadline=None)
@given(messages=st.lists(MESSAGES, max_size=3), custom=st.dictionaries(TEXTS, VALUES, max_size=3), error=TEXTS)
def test_no_stored_text_becomes_an_element(messages: list[dict[str, Any]], custom: dict[str, Any], error: str) -> None:
    """CN-4: Hostile messages, states and errors of any shape are shown as text."""

    async def run() -> None:
        site = Site()
        await site.store.migrate()
        state = AgentState(session_id="s", agent_type="chat", error=error or None)
        state.messages = [json.loads(json.dumps(message)) for message in messages if message["role"]]
        state.custom_state = custom
        await site.store.state_store.save_checkpoint("s", state)
        for path in ("", "/session?id=s", "/messages?id=s", "/state?id=s", "/value?id=s"):
            answer = await site.ask(f"/console{path}")
            assert answer.status == 200, answer.body
            _check(str(answer.body))
        site.database.close()

    asyncio.run(run())


@settings(max_examples=length(short=150, long=5_000), deadline=None)
@given(page=PAGES, query=QUERIES, is_api=st.booleans(), method=st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT"]))
def test_whatever_is_asked_is_answered(page: str, query: str, *, is_api: bool, method: str) -> None:
    """CN-1: No request raises, and none is answered with 500."""

    async def run() -> None:
        site = Site()
        await site.store.migrate()
        await site.store.state_store.create_session("s", agent_type="chat")
        url = f"{HOST}/console/{'api/' if is_api else ''}{page}?{query}"
        answer = await site.console.handle(HttpRequest(method=method, url=url))
        assert isinstance(answer, HttpResponse)
        assert answer.status < 500, (url, answer.body)
        site.database.close()

    asyncio.run(run())
