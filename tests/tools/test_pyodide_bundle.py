"""The glue is rewritten in exactly the places that one Pyodide version has."""

import pytest

from tools.pyodide_bundle import IMPORT_LINE, PATCHES, BundleError, Patch, patch_glue

GLUE = "".join(f"{patch.old}\n" * patch.count for patch in PATCHES)


def test_every_place_is_rewritten_and_the_wrappers_are_imported_first() -> None:
    """A glue with the expected counts comes out importing workerd's replacements, with no forbidden call left."""
    patched = patch_glue(GLUE, version="314.0.6")

    assert patched.startswith(IMPORT_LINE)
    assert patched.splitlines()[1:].count("newWasmModule") == 4
    assert "Date.now" not in patched
    assert "export { _createPyodideModule }" in patched


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.old)
def test_a_place_too_many_stops_and_names_the_assumption(patch: Patch) -> None:
    """A Pyodide with one more occurrence is refused by version, text and both counts."""
    with pytest.raises(BundleError, match=f"Pyodide 999.*{patch.count} times.*found {patch.count + 1}"):
        patch_glue(GLUE + patch.old, version="999")


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.old)
def test_a_missing_place_stops_too(patch: Patch) -> None:
    """A Pyodide whose glue was reworded is refused rather than half patched."""
    with pytest.raises(BundleError, match=f"found {patch.count - 1}"):
        patch_glue(GLUE.replace(patch.old, "reworded", 1), version="999")
