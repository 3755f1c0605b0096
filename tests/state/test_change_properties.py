"""Staged changes against models: merges a dict can do, RFC 6902 written plainly, and patches that mean nothing."""

import random
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from agents_store_cloudflare import MergeChanges, StagedChange, StagingError
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.state.changes import apply_changes
from agents_store_cloudflare.state.json_document import RefusedError, SizedDocument
from agents_store_cloudflare.state.json_patch import apply_operation
from tests.lengths import length

MAX_BYTES = 100_000


def is_list(value: object) -> bool:
    return isinstance(value, list)


def is_object(value: object) -> bool:
    return isinstance(value, dict)


names = st.sampled_from(["a", "b", "", "0", "1", "-", "a/b", "m~n", "~1", "ü🎉", '"', "\n"])
scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.just(2**70) | st.sampled_from([0.0, 1.0, 1.5]) | names
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(names, values, max_size=5)
merges = st.builds(MergeChanges, values=objects, array_replacements=st.frozensets(names))


@settings(max_examples=length(200, 3_000))
@given(objects, st.lists(merges, max_size=5))
def test_merges_do_what_a_dict_does(state: Any, changes: list[MergeChanges]) -> None:
    """A promotion of merges equals a loop over a dict. It warns of overwritten work and of lists onto other values."""
    expected, warnings, written = deepcopy(state), 0, set[str]()
    for change in changes:
        for key, value in change.values.items():
            appends = is_list(value) and key not in change.array_replacements
            if appends and is_list(expected.get(key)):
                expected[key] = [*expected[key], *value]
            else:
                warnings += (key in written) + (appends and key in expected)
                expected[key] = value
        written.update(change.values)
    staged = [StagedChange(tool_call_id=f"t{index}", merge_changes=change) for index, change in enumerate(changes)]
    result = apply_changes("s", state, staged, max_bytes=MAX_BYTES)
    assert result.text == encode_json(expected, name="expected")
    assert len(result.warnings) == warnings


class Model:
    """RFC 6902 as its sections say it. Every change makes a new document."""

    def __init__(self, document: Any) -> None:
        self.document = deepcopy(document)

    def get(self, tokens: list[str]) -> Any:
        node = self.document
        for token in tokens:
            if is_list(node):
                assert token in {str(index) for index in range(len(node))}
                node = node[int(token)]
            else:
                assert is_object(node)
                node = node[token]
        return node

    def set(self, tokens: list[str], change: Any) -> None:
        """Call `change(parent, token)` on the parent of the place."""
        change(self.get(tokens[:-1]), tokens[-1])

    def add(self, tokens: list[str], value: Any) -> None:
        def insert(parent: Any, token: str) -> None:
            if is_object(parent):
                parent[token] = deepcopy(value)
                return
            assert is_list(parent)
            index = len(parent) if token == "-" else int(token)
            assert token == "-" or (str(index) == token and 0 <= index <= len(parent))
            parent.insert(index, deepcopy(value))

        if tokens:
            self.set(tokens, insert)
        else:
            self.document = deepcopy(value)

    def remove(self, tokens: list[str]) -> None:
        self.get(tokens)
        assert tokens

        def drop(parent: Any, token: str) -> None:
            del parent[token if is_object(parent) else int(token)]

        self.set(tokens, drop)

    def replace(self, tokens: list[str], value: Any) -> None:
        self.get(tokens)

        def put(parent: Any, token: str) -> None:
            parent[token if is_object(parent) else int(token)] = deepcopy(value)

        if tokens:
            self.set(tokens, put)
        else:
            self.document = deepcopy(value)

    def apply(self, operation: Any) -> None:
        tokens = _tokens(operation["path"])
        match operation["op"]:
            case "add":
                self.add(tokens, operation["value"])
            case "remove":
                self.remove(tokens)
            case "replace":
                self.replace(tokens, operation["value"])
            case "copy":
                self.add(tokens, self.get(_tokens(operation["from"])))
            case "move":
                source = _tokens(operation["from"])
                value = self.get(source)
                if source != tokens:
                    assert tokens[: len(source)] != source
                    self.remove(source)
                    self.add(tokens, value)
            case _:
                assert _typed(self.get(tokens)) == _typed(operation["value"])


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _typed(value: Any) -> Any:
    """Return a value that `==` compares as JSON does. Python alone calls True and 1 equal."""
    if isinstance(value, bool):
        return ("bool", value)
    if is_list(value):
        return [_typed(item) for item in value]
    return {key: _typed(item) for key, item in value.items()} if is_object(value) else value


def _places(value: Any, pointer: str = "") -> list[str]:
    """Return every existing place, and the places beside each container's members at which one can be added."""
    inner = value.items() if is_object(value) else enumerate(value) if is_list(value) else ()
    places = [pointer]
    for key, item in inner:
        places += _places(item, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    if is_list(value):
        places += [f"{pointer}/{len(value)}", f"{pointer}/-"]
    if is_object(value):
        places += [f"{pointer}/new", f"{pointer}/01"]
    return places


@settings(max_examples=length(300, 5_000))
@given(objects, st.data())
def test_patches_do_what_the_standard_says(state: Any, data: st.DataObject) -> None:
    """Each operation gives the same document, key order included, or both refuse it. The size is always exact."""
    document, model = SizedDocument(state, max_bytes=MAX_BYTES), Model(state)
    for _ in range(6):
        places = st.sampled_from(_places(model.document))
        operation: Any = {
            "op": data.draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])),
            "path": data.draw(places),
            "from": data.draw(places),
            "value": data.draw(values),
        }
        if operation["op"] == "test" and data.draw(st.booleans()):
            operation["value"] = deepcopy(_at(model, operation["path"]))
        before = deepcopy(model.document)
        try:
            model.apply(operation)
        except (AssertionError, LookupError, ValueError):
            with pytest.raises(RefusedError):
                apply_operation(document, operation)
            document, model = SizedDocument({"root": before}, max_bytes=MAX_BYTES), Model({"root": before})
            continue
        apply_operation(document, operation)
        text = encode_json(document.root, name="root")
        assert text == encode_json(model.document, name="model")
        assert document.size_bytes == len(text.encode())


def _at(model: Model, pointer: str) -> Any:
    try:
        return model.get(_tokens(pointer))
    except (AssertionError, LookupError):
        return None


STATE: Any = {
    "list": [1, [2, {"a": 3}], "text"],
    "object": {"a": {"b": None}, "-": True},
    "text": "abc",
    "n": 0,
    "": {},
}
BAD_POINTERS: list[Any] = [
    *("list", "/list/9/a", "/list/01", "/list/-1", "/list/1e0", "/list/ 1", "/list/９", "/list/1.0", "/list/-/0", "/list/"),
    *("/text/0", "/text/a", "/n/0", "/object/a/b/c", "/nowhere/a", "/object/~", "/object/~2", "/object/a~", "//a/b", "#/n"),
    *(None, 0, 1.5, True, [], {}, ["list"], {"path": "/n"}, "/list/" + "9" * 5_000, "a/b", " /n", "/list/1\n"),
]  # fmt: skip
BAD_OPS: list[Any] = ["", "Add", "append", "add ", "remove\n", "__class__", None, 1, True, [], {}, ["add"]]
FILLINGS: list[Any] = [None, 1, "x", [], [0], {}, {"a": [1]}]
OPS = ["add", "remove", "replace", "move", "copy", "test"]
BAD_VALUES: list[Any] = [float("nan"), float("inf"), "\ud800", (1,), {1}, b"x", {1: 2}, object(), 10**5_000]


def bad_operation(choice: random.Random) -> Any:
    """Return an operation that cannot be applied to `STATE`."""
    op = choice.choice(OPS)
    good: Any = {"op": op, "path": "/n", "from": "/list/0", "value": choice.choice(FILLINGS)}
    if op == "test":
        good["value"] = 0
    extra: Any = {choice.choice(["note", "values", "PATH"]): choice.choice(FILLINGS)}
    pointer, value = choice.choice(BAD_POINTERS), choice.choice(BAD_VALUES)
    dropped = choice.choice(["op", "path", "value" if op in {"add", "replace", "test"} else "path"])
    return choice.choice(
        [
            {**good, "path": pointer, **extra},
            {**good, "op": choice.choice(["move", "copy"]), "from": pointer, **extra},
            {**good, "op": choice.choice(BAD_OPS), **extra},
            {key: value for key, value in good.items() if key != dropped},
            {**good, "value": value},
            choice.choice([None, 1, "add", [], ["add", "/n", 1], (good,), [good], op.encode()]),
            {"op": "test", "path": "/n", "value": choice.choice([*FILLINGS, False, "0", -1])},
            {"op": "test", "path": "/object/-", "value": choice.choice([1, "true", False, None])},
            {"op": "remove", "path": choice.choice(["", "/x", "/list/9", "/list/-", "/object/b"])},
            {"op": "replace", "path": choice.choice(["/x", "/list/9", "/list/-"]), "value": 1},
            {"op": "move", "from": "/object", "path": choice.choice(["/object/a", "/object/new", "/object/a/b"])},
            {"op": choice.choice(["add", "replace"]), "path": "", "value": choice.choice([1, None, [STATE], "{}"])},
            {"op": "add", "path": f"/list/{choice.randrange(9, 10**6)}", "value": 1},
        ]
    )


@pytest.mark.parametrize("seed", range(10))
def test_bad_patches_change_nothing(seed: int) -> None:
    """Each of ten thousand bad patches, some after good operations, is refused with its error and changes nothing."""
    choice, before = random.Random(seed), deepcopy(STATE)
    good: Any = [{"op": "add", "path": "/list/-", "value": [1]}, {"op": "copy", "from": "/list", "path": "/copied"}]
    for _ in range(1_000):
        operations = [*good[: choice.randrange(3)], bad_operation(choice)]
        with pytest.raises((StagingError, ValueError, TypeError)) as raised:
            apply_changes("s", STATE, [StagedChange(tool_call_id="call", patches=operations)], max_bytes=MAX_BYTES)
        assert repr(STATE) == repr(before), operations
        if isinstance(raised.value, StagingError):
            assert (raised.value.session_id, raised.value.tool_call_id) == ("s", "call")
