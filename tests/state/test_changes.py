"""What staged changes make of a custom state: merges, patches, and everything that is refused."""

from copy import deepcopy
from typing import Any, cast

import jsonpatch
import pytest

from agents_store_cloudflare import MergeChanges, StagedChange, StagingError, StateSizeExceededError
from agents_store_cloudflare.contract.json_values import MAX_DEPTH, decode_json, encode_json
from agents_store_cloudflare.state.changes import MAX_OPERATIONS, Applied, apply_changes, merge_changes
from agents_store_cloudflare.state.json_document import COPY_FACTOR

MAX_BYTES = 10_000


def promote(state: Any, *changes: StagedChange, max_bytes: int = MAX_BYTES) -> Applied:
    """Apply the changes. Check that the arguments are unchanged and share nothing with the result."""
    before, staged = deepcopy(state), [change.to_dict() for change in changes]
    try:
        result = apply_changes("session-1", state, changes, max_bytes=max_bytes)
    finally:
        assert repr(state) == repr(before)
        assert [change.to_dict() for change in changes] == staged
    assert result.text == encode_json(result.custom_state, name="result")
    assert result.applied == tuple(change.tool_call_id for change in changes)
    given = [state, *(change.patches for change in changes), *(change.merge_changes for change in changes)]
    values = {id(node) for value in given for node in _containers(value)}
    assert values.isdisjoint(id(node) for node in _containers(result.custom_state))
    assert len({id(node) for node in _containers(result.custom_state)}) == len([*_containers(result.custom_state)])
    return result


def _containers(value: Any) -> Any:
    if isinstance(value, MergeChanges):
        value = value.values
    if isinstance(value, dict | list):
        yield value
        for inner in _inner(value):
            yield from _containers(inner)


def _inner(value: Any) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else value


def patch(*operations: Any, tool_call_id: str = "call-1") -> StagedChange:
    return StagedChange(tool_call_id=tool_call_id, patches=list(operations))


def merge(changes: Any, tool_call_id: str = "call-1") -> StagedChange:
    return StagedChange(tool_call_id=tool_call_id, merge_changes=changes)


def patched(state: Any, *operations: Any) -> Any:
    return promote(state, patch(*operations)).custom_state


def refused(state: Any, *operations: Any, max_bytes: int = MAX_BYTES) -> StagingError:
    with pytest.raises(StagingError) as raised:
        promote(state, patch(*operations), max_bytes=max_bytes)
    error = raised.value
    assert (error.session_id, error.tool_call_id) == ("session-1", "call-1")
    assert "'session-1'" in str(error)
    assert "'call-1'" in str(error)
    return error


class TestMerge:
    """`merge_changes`: replace, append, replace lists that are named."""

    def test_each_kind_of_value(self) -> None:
        """Scalars and objects replace, lists append, a list onto a missing key is set; the order of keys stays."""
        state = {"n": 1, "object": {"a": 1}, "list": [1], "kept": None}
        result = promote(state, merge({"list": [2, [3]], "object": {"b": 2}, "new": [1], "n": None}))
        assert result.custom_state == {"n": None, "object": {"b": 2}, "list": [1, 2, [3]], "kept": None, "new": [1]}
        assert list(result.custom_state) == ["n", "object", "list", "kept", "new"]
        assert result.warnings == ()

    def test_array_replacements(self) -> None:
        """A named list replaces the stored one.

        A name without a value has no effect, and a named list replaces any value without a warning.
        """
        changes = MergeChanges(values={"a": [9], "b": [9], "c": [9]}, array_replacements=frozenset({"a", "b", "z"}))
        result = promote({"a": [1], "b": "text", "c": [1], "z": [1]}, merge(changes))
        assert result.custom_state == {"a": [9], "b": [9], "c": [1, 9], "z": [1]}
        assert result.warnings == ()

    @pytest.mark.parametrize("present", [None, "text", 1, {"a": 1}], ids=repr)
    def test_a_list_onto_something_else(self, present: object) -> None:
        """A list replaces a value that is no list, with a warning."""
        result = promote({"k": present}, merge({"k": [1]}))
        assert result.custom_state == {"k": [1]}
        assert len(result.warnings) == 1
        assert "'k'" in result.warnings[0]

    def test_two_calls_replace_one_key(self) -> None:
        """The last call wins, and a warning names the key and both tool calls. Two appends give no warning."""
        result = promote({"list": []}, merge({"k": 1, "list": [1]}, "first"), merge({"k": 2, "list": [2]}, "second"))
        assert result.custom_state == {"list": [1, 2], "k": 2}
        (warning,) = result.warnings
        assert all(word in warning for word in ("'k'", "'first'", "'second'"))

    def test_a_call_replaces_what_another_appended(self) -> None:
        """A warning comes if a call replaces the values that another call appended."""
        replacing = MergeChanges(values={"k": [9]}, array_replacements=frozenset({"k"}))
        result = promote({"k": [0]}, merge({"k": [1]}, "first"), merge(replacing, "second"))
        assert result.custom_state == {"k": [9]}
        assert len(result.warnings) == 1

    def test_merge_before_patches(self) -> None:
        """With `merge_changes`, even empty, `patches` are ignored. Only applied patches count."""
        operations: list[Any] = [{"op": "remove", "path": "/missing"}] * (MAX_OPERATIONS + 1)
        changes = StagedChange(tool_call_id="t", patches=operations, merge_changes={})
        assert promote({"a": 1}, changes).custom_state == {"a": 1}

    def test_odd_keys(self) -> None:
        """Any text is a key."""
        values: Any = {"": 1, "a/b": [2], "~": 3, "~1": 4, "-": [5], "0": 6, "\0": 7, "🎉": 8}
        assert merge_changes("s", {"a/b": [1]}, values, max_bytes=MAX_BYTES).custom_state == {**values, "a/b": [1, 2]}

    def test_size(self) -> None:
        """The limit is exact to the byte. Above it, the error names the call, and its cause names the tool call."""
        text = "ü" * 100
        size_bytes = len(encode_json({"k": text}, name="state").encode())
        assert promote({}, merge({"k": text}), max_bytes=size_bytes).custom_state == {"k": text}
        with pytest.raises(StateSizeExceededError) as raised:
            promote({}, merge({"k": text}), max_bytes=size_bytes - 1)
        assert (raised.value.size_bytes, raised.value.limit_bytes) == (size_bytes, size_bytes - 1)
        assert raised.value.operation == "promote_staging"
        assert isinstance(raised.value.__cause__, StagingError)
        assert raised.value.__cause__.tool_call_id == "call-1"
        with pytest.raises(StateSizeExceededError, match="merge_custom_state"):
            merge_changes("s", {}, {"k": text}, max_bytes=size_bytes - 1)

    def test_depth(self) -> None:
        """Set and appended values may nest as deep as custom state allows, and no deeper."""
        deep = _nested(MAX_DEPTH - 1)
        assert promote({}, merge({"k": deep})).custom_state == {"k": deep}
        assert promote({"k": [1]}, merge({"k": deep})).custom_state == {"k": [1, *deep]}
        with pytest.raises(ValueError, match="nests"):
            merge({"k": [deep]})

    def test_refusals_of_the_bare_merge(self) -> None:
        """A value that is not JSON, or nests too deep, is refused by name, also if it was changed after its record was made."""
        with pytest.raises(ValueError, match="nests"):
            merge_changes("s", {}, {"k": _nested(MAX_DEPTH)}, max_bytes=MAX_BYTES)
        changes = MergeChanges(values={"k": 1})
        changes.values["k"] = cast("Any", {1})
        with pytest.raises(StagingError, match="not JSON") as raised:
            merge_changes("s", {}, changes, max_bytes=MAX_BYTES)
        assert raised.value.tool_call_id is None
        with pytest.raises(TypeError, match="merge_changes"):
            merge_changes("s", {}, cast("Any", [1]), max_bytes=MAX_BYTES)
        with pytest.raises(TypeError, match="custom_state"):
            merge_changes("s", {"a": cast("Any", {1})}, {}, max_bytes=MAX_BYTES)


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


OPERATIONS: list[tuple[Any, Any, Any]] = [
    ({"a": 1}, {"op": "add", "path": "/b", "value": None}, {"a": 1, "b": None}),
    ({"a": 1, "b": 2}, {"op": "add", "path": "/a", "value": 3}, {"a": 3, "b": 2}),
    ({"a": [1, 2]}, {"op": "add", "path": "/a/0", "value": 0}, {"a": [0, 1, 2]}),
    ({"a": [1, 2]}, {"op": "add", "path": "/a/2", "value": 3}, {"a": [1, 2, 3]}),
    ({"a": [1, 2]}, {"op": "add", "path": "/a/-", "value": 3}, {"a": [1, 2, 3]}),
    ({"a": {}}, {"op": "add", "path": "/a/-", "value": 3}, {"a": {"-": 3}}),
    ({"a": {}}, {"op": "add", "path": "/a/01", "value": 3}, {"a": {"01": 3}}),
    ({"a": 1}, {"op": "add", "path": "", "value": {"b": 1}}, {"b": 1}),
    ({"a": 1}, {"op": "add", "path": "/", "value": 2}, {"a": 1, "": 2}),
    ({"a": 1}, {"op": "add", "path": "/b", "value": 2, "note": "ignored", "from": 3}, {"a": 1, "b": 2}),
    ({"a/b": 1, "m~n": 2, "~1": 3}, {"op": "remove", "path": "/a~1b"}, {"m~n": 2, "~1": 3}),
    ({"a/b": 1, "m~n": 2, "~1": 3}, {"op": "remove", "path": "/~01"}, {"a/b": 1, "m~n": 2}),
    ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/1"}, {"a": [1, 3]}),
    ({"a": [1, 2]}, {"op": "replace", "path": "/a/1", "value": [3]}, {"a": [1, [3]]}),
    ({"a": 1, "b": 2}, {"op": "replace", "path": "/a", "value": "x"}, {"a": "x", "b": 2}),
    ({"a": 1}, {"op": "replace", "path": "", "value": {}}, {}),
    ({"a": [1, 2, 3]}, {"op": "move", "from": "/a/0", "path": "/a/2"}, {"a": [2, 3, 1]}),
    ({"a": [[], [1], [2]]}, {"op": "move", "from": "/a/0", "path": "/a/1/0"}, {"a": [[1], [[], 2]]}),
    ({"a": {"b": 1}}, {"op": "move", "from": "/a/b", "path": "/c"}, {"a": {}, "c": 1}),
    ({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": ""}, {"b": 1}),
    ({"a": 1, "ab": {}}, {"op": "move", "from": "/a", "path": "/ab/c"}, {"ab": {"c": 1}}),
    ({"a": 1, "b": 2}, {"op": "move", "from": "/a", "path": "/a"}, {"a": 1, "b": 2}),
    ({"a": {"b": [1]}}, {"op": "copy", "from": "/a", "path": "/a/b/0"}, {"a": {"b": [{"b": [1]}, 1]}}),
    ({"a": 1}, {"op": "copy", "from": "", "path": "/b"}, {"a": 1, "b": {"a": 1}}),
    ({"a": {"b": 1}}, {"op": "test", "path": "/a", "value": {"b": 1.0}}, {"a": {"b": 1}}),
    ({"a": 2**60}, {"op": "test", "path": "/a", "value": 2**60}, {"a": 2**60}),
    ({"a": {"x": 1, "y": 2}}, {"op": "test", "path": "/a", "value": {"y": 2, "x": 1}}, {"a": {"x": 1, "y": 2}}),
    ({}, {"op": "test", "path": "", "value": {}}, {}),
]

REFUSED: list[tuple[Any, Any, str]] = [
    ({}, {"op": "merge", "path": "/a"}, "none of"),
    ({}, {"op": "ADD", "path": "/a", "value": 1}, "none of"),
    ({"a": "x"}, {"op": "append", "path": "/a", "value": "y"}, "none of"),
    ({}, {"op": "add", "value": 1}, "'path'"),
    ({}, {"op": "add", "path": ["a"], "value": 1}, "'path'"),
    ({}, {"op": "add", "path": None, "value": 1}, "'path'"),
    ({}, {"op": "add", "path": "a", "value": 1}, "JSON Pointer"),
    ({}, {"op": "add", "path": "#/a", "value": 1}, "JSON Pointer"),
    ({}, {"op": "add", "path": "/a~2", "value": 1}, "JSON Pointer"),
    ({}, {"op": "add", "path": "/a~", "value": 1}, "JSON Pointer"),
    ({}, {"op": "add", "path": "/a"}, "'value'"),
    ({"a": 1}, {"op": "replace", "path": "/a"}, "'value'"),
    ({"a": None}, {"op": "test", "path": "/a"}, "'value'"),
    ({"a": 1}, {"op": "move", "path": "/b"}, "'from'"),
    ({"a": 1}, {"op": "copy", "path": "/b", "from": 0}, "'from'"),
    ({}, {"op": "add", "path": "/a/b", "value": 1}, "does not exist"),
    ({"a": 1}, {"op": "add", "path": "/a/b", "value": 1}, "neither"),
    ({"a": "text"}, {"op": "add", "path": "/a/0", "value": 1}, "neither"),
    ({"a": None}, {"op": "add", "path": "/a/b", "value": 1}, "neither"),
    ({"a": []}, {"op": "add", "path": "/a/1", "value": 1}, "past the end"),
    ({"a": []}, {"op": "add", "path": "/a/-1", "value": 1}, "without an index"),
    ({"a": []}, {"op": "add", "path": "/a/00", "value": 1}, "without an index"),
    ({"a": []}, {"op": "add", "path": "/a/0\n", "value": 1}, "without an index"),
    ({"a": []}, {"op": "add", "path": "/a/٠", "value": 1}, "without an index"),  # a digit that int() takes
    ({"a": []}, {"op": "add", "path": "/a/", "value": 1}, "without an index"),
    ({"a": []}, {"op": "add", "path": f"/a/{10**5}", "value": 1}, "past the end"),
    ({"a": []}, {"op": "add", "path": "/a/" + "9" * 6_000, "value": 1}, "without an index"),
    ({"a": [1, 2]}, {"op": "remove", "path": "/a/01"}, "without an index"),
    ({"a": [1, 2]}, {"op": "remove", "path": "/a/-"}, "without an index"),
    ({"a": [1, 2]}, {"op": "replace", "path": "/a/-", "value": 1}, "without an index"),
    ({"a": [[]]}, {"op": "add", "path": "/a/-/0", "value": 1}, "without an index"),
    ({"a": [1, 2]}, {"op": "replace", "path": "/a/2", "value": 1}, "does not exist"),
    ({"a": [1, 2]}, {"op": "remove", "path": "/a/2"}, "does not exist"),
    ({"a": 1}, {"op": "replace", "path": "/b", "value": 1}, "does not exist"),
    ({"a": 1}, {"op": "remove", "path": "/b"}, "does not exist"),
    ({"a": 1}, {"op": "remove", "path": ""}, "whole document"),
    ({"a": "text"}, {"op": "test", "path": "/a/0", "value": "t"}, "does not exist"),
    ({"a": 1}, {"op": "move", "from": "/b", "path": "/a"}, "does not exist"),
    ({"a": 1}, {"op": "move", "from": "/b", "path": "/b"}, "does not exist"),
    ({"a": {"b": {}}}, {"op": "move", "from": "/a", "path": "/a/b"}, "into itself"),
    ({"a": [[1], [2]]}, {"op": "move", "from": "/a/0", "path": "/a/0/0"}, "into itself"),
    ({"a": 1}, {"op": "move", "from": "", "path": "/b"}, "into itself"),
    ({"a": [1]}, {"op": "move", "from": "/a/0", "path": "/a/1"}, "past the end"),
    ({"a": 1}, {"op": "copy", "from": "/b", "path": "/c"}, "does not exist"),
    ({"a": 1}, {"op": "test", "path": "/b", "value": None}, "does not exist"),
    ({"a": 1}, {"op": "test", "path": "/a", "value": 2}, "test"),
    ({"a": 1}, {"op": "test", "path": "/a", "value": True}, "test"),
    ({"a": True}, {"op": "test", "path": "/a", "value": 1}, "test"),
    ({"a": [{"b": [0]}]}, {"op": "test", "path": "/a", "value": [{"b": [False]}]}, "test"),
    ({"a": 0}, {"op": "test", "path": "/a", "value": None}, "test"),
    ({"a": "1"}, {"op": "test", "path": "/a", "value": 1}, "test"),
    ({"a": []}, {"op": "test", "path": "/a", "value": {}}, "test"),
    ({"a": [1]}, {"op": "test", "path": "/a", "value": [1, 1]}, "test"),
    ({"a": {"b": 1}}, {"op": "test", "path": "/a", "value": {}}, "test"),
    ({"a": 2**53 + 1}, {"op": "test", "path": "/a", "value": float(2**53)}, "test"),
    ({"a": 1}, {"op": "add", "path": "", "value": [1]}, "object"),
    ({"a": 1}, {"op": "replace", "path": "", "value": None}, "object"),
    ({"a": [1]}, {"op": "copy", "from": "/a", "path": ""}, "object"),
]


class TestPatch:
    """RFC 6902, exactly."""

    @pytest.mark.parametrize(
        ("state", "operation", "expected"),
        OPERATIONS,
        ids=repr,
    )
    def test_operations(self, state: Any, operation: Any, expected: Any) -> None:
        """Each operation does the same as the standard says."""
        assert repr(patched(state, operation)) == repr(expected)

    @pytest.mark.parametrize(
        ("state", "operation", "reason"),
        REFUSED,
        ids=lambda value: ascii(value)[:80],
    )
    def test_refusals(self, state: Any, operation: Any, reason: str) -> None:
        """An operation that the standard forbids or leaves open is a StagingError with a reason."""
        assert reason in refused(state, operation).reason

    def test_the_error_names_the_operation_without_content(self) -> None:
        """The error has the operation's index, and no content of the document or the operation, however it is printed."""
        good = {"op": "add", "path": "/secret", "value": "hidden"}
        error = refused({"private": "hidden"}, good, good, {"op": "remove", "path": "/secret/private"})
        assert error.operation_index == 2
        assert "operation 2" in str(error)
        assert not any(word in repr(error) for word in ("secret", "private", "hidden"))
        assert error.__cause__ is None
        assert error.__suppress_context__

    def test_all_or_nothing_over_several_calls(self) -> None:
        """When the last of three tool calls fails, the error names it and the state does not change."""
        state = {"a": [1]}
        with pytest.raises(StagingError) as raised:
            promote(
                state,
                patch({"op": "add", "path": "/a/-", "value": 2}, tool_call_id="one"),
                merge({"a": [3]}, "two"),
                patch({"op": "remove", "path": "/a/9"}, tool_call_id="three"),
            )
        assert (raised.value.tool_call_id, raised.value.operation_index) == ("three", 0)
        assert state == {"a": [1]}

    def test_changes_build_on_each_other(self) -> None:
        """Each change sees the changes before it. A value that is used twice becomes two values."""
        shared: Any = {"list": []}
        result = promote(
            {},
            merge({"items": []}, "one"),
            patch({"op": "add", "path": "/items/-", "value": shared}, {"op": "add", "path": "/b", "value": shared}),
            patch({"op": "copy", "from": "/b", "path": "/c"}, {"op": "add", "path": "/c/list/-", "value": 1}),
            patch({"op": "add", "path": "/items/0/list/-", "value": 2}),
        )
        assert result.custom_state == {"items": [{"list": [2]}], "b": {"list": []}, "c": {"list": [1]}}

    def test_the_root_may_pass_through_other_types(self) -> None:
        """Within one change the document may have any type. After the change it is an object."""
        assert patched({"a": 1}, {"op": "add", "path": "", "value": [1]}, {"op": "add", "path": "", "value": {}}) == {}

    def test_values_stay_exact(self) -> None:
        """Integers of any size, floats, NUL and key order do not change."""
        state = {"z": 2**70, "a": 1.0, "m": "\0"}
        result = promote(state, patch({"op": "add", "path": "/b", "value": {"y": -0.0, "x": 10**30}}))
        assert (
            result.text == '{"z":1180591620717411303424,"a":1.0,"m":"\\u0000","b":{"y":-0.0,"x":' + str(10**30) + "}}"
        )

    @pytest.mark.parametrize("raised", [KeyError("x"), RecursionError(), TypeError(), jsonpatch.JsonPatchException()])
    def test_whatever_the_library_raises(self, raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every exception of the patch library becomes a StagingError that names the tool call."""

        def fail(*_: object, **__: object) -> None:
            raise raised

        monkeypatch.setattr(jsonpatch, "apply_patch", fail)
        assert refused({"a": {}}, {"op": "add", "path": "/a/b", "value": 1}).operation_index == 0

    def test_changes_after_staging(self) -> None:
        """An operation that was changed after its record was made is still refused."""
        change = patch({"op": "add", "path": "/a", "value": 1})
        change.patches[0]["value"] = cast("Any", {1, 2})
        with pytest.raises(StagingError, match="not JSON"):
            apply_changes("s", {}, [change], max_bytes=MAX_BYTES)


class TestLimits:
    """The limits stop bombs before they take memory or time."""

    def test_doubling_copies_stop_at_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The copy that would pass the limit is refused before it is made."""
        largest = 0
        apply_patch = jsonpatch.apply_patch

        def watch(*args: Any, **kwargs: Any) -> Any:
            nonlocal largest
            result = apply_patch(*args, **kwargs)
            largest = max(largest, len(encode_json(result, name="result").encode()))
            return result

        monkeypatch.setattr(jsonpatch, "apply_patch", watch)
        bomb = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(1_000)]
        with pytest.raises(StateSizeExceededError) as raised:
            promote({"a": "x" * 100}, patch(*bomb))
        assert MAX_BYTES / 2 < largest <= MAX_BYTES < raised.value.size_bytes <= 2 * MAX_BYTES
        assert isinstance(raised.value.__cause__, StagingError)
        assert (raised.value.__cause__.operation_index or 0) < 10

    def test_copies_onto_one_place(self) -> None:
        """A thousand large copies to one place are refused after a few, although the document does not grow."""
        one: Any = {"op": "copy", "from": "/a", "path": "/b"}
        size_bytes = MAX_BYTES // 4
        assert patched({"a": "x" * size_bytes}, *[one] * 4 * (COPY_FACTOR - 1))
        error = refused({"a": "x" * size_bytes}, *[one] * 1_000)
        assert error.operation_index == 4 * COPY_FACTOR - 1
        to_and_fro: Any = [{"op": "move", "from": "/a", "path": "/b"}, {"op": "move", "from": "/b", "path": "/a"}]
        assert refused({"a": "x" * size_bytes}, *to_and_fro * 500).operation_index == 4 * COPY_FACTOR - 1

    @pytest.mark.parametrize("op", ["copy", "move"])
    def test_depth(self, op: str) -> None:
        """Nesting by copies of a parent into its child, or by moves to a deeper place, stops at 200 levels."""
        if op == "copy":
            bomb: Any = [{"op": "copy", "from": "", "path": "/a" * power} for power in (1, 2, 4, 8, 16, 32, 64, 128)]
            assert "nest" in refused({}, *bomb, max_bytes=10**6).reason
            return
        state: Any = {"a": _nested(150), "b": _nested(60)}
        deeper: Any = {"op": "move", "from": "/a", "path": "/b" + "/0" * 49}
        assert _depth(patched(state, deeper)) == MAX_DEPTH
        too_deep: Any = {"op": "move", "from": "/a", "path": "/b" + "/0" * 50}
        assert "nest" in refused(state, too_deep).reason

    def test_operations_of_all_calls_count(self) -> None:
        """The limit of a thousand operations counts the operations of all calls."""
        half: list[Any] = [{"op": "test", "path": "", "value": {}}] * (MAX_OPERATIONS // 2)
        first, second = patch(*half, tool_call_id="first"), patch(*half, tool_call_id="second")
        assert promote({}, first, second).custom_state == {}
        with pytest.raises(StagingError, match="1,000") as raised:
            promote({}, first, second, patch(half[0], tool_call_id="third"))
        assert (raised.value.tool_call_id, raised.value.operation_index) == ("third", 0)

    def test_a_state_over_the_limit(self) -> None:
        """A state over the limit can be made smaller, but must not stay over the limit."""
        state = {"a": "x" * MAX_BYTES, "b": 1}
        assert patched(state, {"op": "remove", "path": "/a"}) == {"b": 1}
        with pytest.raises(StateSizeExceededError):
            promote(state, patch({"op": "remove", "path": "/b"}))

    def test_a_thousand_operations_near_the_limit_measure_what_they_change(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The encoded bytes are those of the values and a few times the document, not the document for each operation."""
        from agents_store_cloudflare.state import json_document

        encoded = 0

        def counting(value: object, **kwargs: Any) -> str:
            nonlocal encoded
            text = encode_json(value, **kwargs)
            encoded += len(text)
            return text

        monkeypatch.setattr(json_document, "encode_json", counting)
        state = {"large": "x" * (MAX_BYTES - 50), "n": 0}
        result = promote(state, patch(*({"op": "replace", "path": "/n", "value": n % 10} for n in range(1_000))))
        assert result.custom_state["n"] == 9
        assert encoded < MAX_BYTES + 10 * 1_000


def _depth(value: Any) -> int:
    return 1 + max((_depth(inner) for inner in _inner(value)), default=0) if isinstance(value, dict | list) else 0


class TestRecords:
    """The values that `StagedChange` and `MergeChanges` accept."""

    def test_a_mapping_as_merge_changes(self) -> None:
        """A mapping with exactly the record's two keys is the record. Any other mapping is plain values."""
        record = MergeChanges(values={"a_b": [1]}, array_replacements=frozenset({"a_b"}))
        for mapping in (
            {"values": {"a_b": [1]}, "arrayReplacements": ["a_b"]},
            {"values": {"a_b": [1]}, "array_replacements": {"a_b"}},
        ):
            assert merge(mapping).merge_changes == record
        plain: list[Any] = [{}, {"values": {"a": 1}}, {"values": 1, "arrayReplacements": [], "b": 1}, {"snake_key": 1}]
        for values in plain:
            assert merge(values).merge_changes == MergeChanges(values=values)

    def test_round_trip(self) -> None:
        """Records come back from their mapping and from its JSON, with unchanged user keys."""
        change = StagedChange(
            tool_call_id="t",
            patches=[{"op": "add", "path": "/snake_key", "value": {"inner_key": 1}}],
            merge_changes={"snake_key": [1]},
            timestamp=5,
        )
        body = change.to_dict()
        assert body["mergeChanges"] == {"values": {"snake_key": [1]}, "arrayReplacements": []}
        assert StagedChange.from_dict(body) == change
        assert StagedChange.from_dict(cast("Any", decode_json(encode_json(body, name="body")))) == change
        assert StagedChange.from_dict({"toolCallId": "t"}) == StagedChange(tool_call_id="t")

    @pytest.mark.parametrize(
        ("fields", "kind", "named"),
        [
            ({"tool_call_id": ""}, ValueError, "tool_call_id"),
            ({"tool_call_id": 1}, TypeError, "tool_call_id"),
            ({"timestamp": 1.5}, TypeError, "timestamp"),
            ({"timestamp": -1}, ValueError, "timestamp"),
            ({"patches": ({"op": "add"},)}, TypeError, "patches"),
            ({"patches": "[]"}, TypeError, "patches"),
            ({"patches": ["add"]}, TypeError, r"patches\[0\]"),
            ({"patches": [{"op": "x"}, {}]}, ValueError, r"patches\[1\]"),
            ({"patches": [{"op": 1}]}, ValueError, "op"),
            ({"patches": [{"op": "add", "path": "/a", "value": float("nan")}]}, ValueError, r"patches\[0\]"),
            ({"patches": [{"op": "add", "path": "/a", "value": (1,)}]}, TypeError, r"patches\[0\]"),
            ({"patches": [{"op": "add", "path": "/\ud800", "value": 1}]}, ValueError, "surrogate"),
            ({"patches": [{"op": "add", "path": "/a", "value": _nested(MAX_DEPTH)}]}, ValueError, "nests"),
            ({"merge_changes": [1]}, TypeError, "merge_changes"),
            ({"merge_changes": {1: 2}}, TypeError, "values"),
            ({"merge_changes": {"a": float("inf")}}, ValueError, "values"),
            ({"merge_changes": {"values": 1, "arrayReplacements": []}}, TypeError, "values"),
            ({"merge_changes": {"values": {}, "arrayReplacements": "ab"}}, TypeError, "array_replacements"),
            ({"merge_changes": {"values": {}, "arrayReplacements": [1]}}, TypeError, "array_replacements"),
        ],
        ids=lambda value: ascii(value)[:60],
    )
    def test_refusals(self, fields: Any, kind: type[Exception], named: str) -> None:
        """A value that cannot be staged is refused at once, by name."""
        with pytest.raises(kind, match=named):
            StagedChange(**{"tool_call_id": cast("Any", "t"), **fields})
