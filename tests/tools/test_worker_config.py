"""A staged configuration is the committed one plus what a local run needs, and none of it for the stock runtime."""

from pathlib import Path
from typing import Any

import pytest

from tools.worker_config import LOCAL_FLAGS, ConfigError, config_file, official_runtime, read_config, staged_config
from tools.wrangler import dev_command, wrangler_environment

CONFIG: dict[str, Any] = {
    "name": "notes",
    "main": "src/entry.py",
    "compatibility_date": "2026-11-01",
    "compatibility_flags": ["python_workers"],
}


def worker_folder(folder: Path, text: str, name: str = "wrangler.toml") -> Path:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "entry.py").touch()
    (folder / name).write_text(text)
    return folder / name


def test_a_local_run_adds_the_flags_of_the_local_bundle(tmp_path: Path) -> None:
    """The committed flag stays first; the five local ones follow."""
    staged = staged_config(CONFIG, tmp_path, official=False)

    assert staged["compatibility_flags"] == ["python_workers", *LOCAL_FLAGS]
    assert staged["main"] == "worker/entry.py"
    assert CONFIG["compatibility_flags"] == ["python_workers"]


def test_an_official_run_keeps_the_committed_flags(tmp_path: Path) -> None:
    """With RUNTIME=official the generated configuration has none of the local additions."""
    assert staged_config(CONFIG, tmp_path, official=True)["compatibility_flags"] == ["python_workers"]


def test_a_javascript_worker_gets_no_python_flags(tmp_path: Path) -> None:
    """A JavaScript entry is served as it is."""
    config = {"name": "js", "main": "src/index.js", "compatibility_date": "2026-11-01"}

    assert "compatibility_flags" not in staged_config(config, tmp_path, official=False)


def test_an_environment_with_flags_of_its_own_gets_the_local_ones_as_well(tmp_path: Path) -> None:
    """`[env.x]` replaces the top-level flags in wrangler, so the local ones are added there too."""
    config = {**CONFIG, "env": {"own": {"compatibility_flags": ["python_workers"]}, "inherits": {}}}

    staged = staged_config(config, tmp_path, official=False)

    assert staged["env"]["own"]["compatibility_flags"] == ["python_workers", *LOCAL_FLAGS]
    assert staged["env"]["inherits"] == {}


@pytest.mark.parametrize("name", ["wrangler.toml", "wrangler.json", "wrangler.jsonc"])
def test_a_folder_names_its_configuration(tmp_path: Path, name: str) -> None:
    """CONFIG may be the Worker's folder."""
    file = worker_folder(tmp_path, "", name)
    assert config_file(tmp_path) == config_file(file) == file


def test_a_folder_without_a_configuration_is_told(tmp_path: Path) -> None:
    """The error names the folder and the names that were looked for."""
    with pytest.raises(ConfigError, match=r"has none of wrangler.*CONFIG names a Worker's folder or its wrangler.toml"):
        config_file(tmp_path)


def test_paths_outside_the_entry_folder_lead_back_to_the_users_folder(tmp_path: Path) -> None:
    """Migrations and assets are read where they are, never copied."""
    (tmp_path / "schema").mkdir()
    config = {
        **CONFIG,
        "d1_databases": [{"binding": "DB", "migrations_dir": "schema"}, {"binding": "BARE"}],
        "assets": {"directory": "./public"},
    }

    staged = staged_config(config, tmp_path, official=False)

    assert staged["d1_databases"][0]["migrations_dir"] == str(tmp_path / "schema")
    assert "migrations_dir" not in staged["d1_databases"][1]
    assert staged["assets"]["directory"] == str(tmp_path / "public")


@pytest.mark.parametrize(("runtime", "wrapped"), [("local", True), ("official", False)])
def test_only_a_local_run_wraps_workerd(
    runtime: str, wrapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stock runtime is started by wrangler itself, whatever an outer environment says."""
    monkeypatch.setenv("RUNTIME", runtime)
    monkeypatch.setenv("MINIFLARE_WORKERD_PATH", "from/outside")

    environment = wrangler_environment(tmp_path)

    assert environment.get("MINIFLARE_WORKERD_PATH", "").endswith("tools/workerd") == wrapped
    assert ("MINIFLARE_WORKERD_PATH" in environment) == wrapped
    command = dev_command(tmp_path, port=1, persist=tmp_path, variables={"KEY": "a:b"})
    assert command[-2:] == ["--var", "KEY:a:b"]
    assert not any("experimental" in word for word in command)


def test_an_unknown_runtime_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt RUNTIME does not silently mean the local one."""
    monkeypatch.setenv("RUNTIME", "offical")

    with pytest.raises(ConfigError, match="offical"):
        official_runtime()


def test_jsonc_is_read_with_comments_and_trailing_commas(tmp_path: Path) -> None:
    """Comment marks and commas inside strings are left alone."""
    text = '{ // a comment\n "main": "src/entry.py", /* b */ "vars": {"URL": "http://x/,}", "L": [1,],}, }'

    assert read_config(worker_folder(tmp_path, text, "wrangler.jsonc"))["vars"] == {"URL": "http://x/,}", "L": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('main = "src/gone.py"', "src/gone.py"),
        ('main = "src/entry.py"\n[build]\ncommand = "make"', r"\[build\]"),
        ('name = "no-main"', "main"),
    ],
)
def test_a_configuration_that_cannot_be_served_says_why(text: str, message: str, tmp_path: Path) -> None:
    """The error names the file and the reason."""
    with pytest.raises(ConfigError, match=message):
        read_config(worker_folder(tmp_path, text))
