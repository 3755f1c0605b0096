"""Names that load late: what type checkers see is what runs."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import agents_store_cloudflare
from agents_store_cloudflare.contract.lazy_names import lazy_names

ROOT = Path(agents_store_cloudflare.__file__).parent


def _lazy_packages() -> list[str]:
    files = [file for file in ROOT.rglob("__init__.py") if "lazy_names(" in file.read_text(encoding="utf-8")]
    return sorted(".".join(("agents_store_cloudflare", *file.parent.relative_to(ROOT).parts)) for file in files)


def _checked_imports(package: str) -> dict[str, str]:
    """For each name, return the module from which the package imports it below `TYPE_CHECKING`."""
    tree = ast.parse(Path(str(import_module(package).__file__)).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.name: str(node.module)
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _run_time_names(package: str) -> dict[str, str]:
    """For each name, return the module that the package's `__getattr__` loads for it."""
    tree = ast.parse(Path(str(import_module(package).__file__)).read_text(encoding="utf-8"))
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    [table] = [ast.literal_eval(node) for node in tables]
    return {name: f"{package}.{module}" for module, names in table.items() for name in names}


def test_there_are_lazy_packages() -> None:
    """The tests below cover the top level and the roles."""
    assert {"agents_store_cloudflare", "agents_store_cloudflare.state"} <= set(_lazy_packages())


@pytest.mark.parametrize("package", _lazy_packages())
def test_checkers_and_run_time_agree(package: str) -> None:
    """CO-10: Type checkers import each late name from the module that defines it at run time. `__all__` has no other late names."""
    assert _run_time_names(package) == _checked_imports(package)
    seeds = set(import_module(package).__all__)
    assert seeds <= _run_time_names(package).keys()
    if package != "agents_store_cloudflare":
        assert seeds == _run_time_names(package).keys()


@pytest.mark.parametrize("package", _lazy_packages())
def test_each_name_is_found_and_kept(package: str) -> None:
    """CO-10: A late name is the object of its module. After its first use it is a normal attribute of the package."""
    module = import_module(package)
    for name in module.__all__:
        found = getattr(module, name)
        assert vars(module)[name] is found
        assert getattr(import_module(_run_time_names(package)[name]), name) is found


def test_another_missing_module_is_not_called_a_durable_object() -> None:
    """Only a missing Workers runtime is explained as one; any other missing module keeps its error."""
    load = lazy_names("agents_store_cloudflare", {"no_such_part": ("Name",)})
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        load("Name")
