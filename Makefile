# What can be made here; `make` alone lists it. Needs Python 3.11 or newer, git, and a package index on the first call.

VENV := .venv
BIN := $(VENV)/bin
STUDY := demo

# A stamp says what is installed: its name changes with pyproject.toml, with the folder the checkout lies in (a virtual
# environment can't be moved), and with the extras. What `dev` installs is more than what `demo` needs.
KEY := $(shell { cat pyproject.toml .ci/venv.sh; pwd; } | cksum | cut -d ' ' -f 1)
DEV := $(VENV)/.whyrank-dev-$(KEY)
DEMO := $(or $(wildcard $(DEV)),$(VENV)/.whyrank-demo-$(KEY))

LANES := model or vllm or browser or package

.PHONY: help demo test check format lint types imports test-model test-vllm test-browser test-package bench calibrate clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO) ## Install, write the Complete Journey study into demo/, run it; again: only what is missing
	@test -e $(STUDY)/whyrank.toml || $(BIN)/whyrank example retail $(STUDY)
	@$(BIN)/whyrank run $(STUDY) --source llm,exhaustive --context-file $(STUDY)/next_week.csv

test: $(DEV) ## Run the tests, but for the slow lanes
	@$(BIN)/pytest -m "not ($(LANES))"

check: format lint types imports test ## Formatting, lint, types, import rules, tests

format: $(DEV) ## Is everything formatted?
	@$(BIN)/ruff format --check .

lint: $(DEV) ## Lint
	@$(BIN)/ruff check .

types: $(DEV) ## Check types, strictly
	@$(BIN)/mypy

imports: $(DEV) ## Do imports point one way?
	@$(BIN)/lint-imports

test-model: $(DEV) ## Slow lane: the embedded model (downloads 93 MB once)
	@$(BIN)/pytest -m model

test-vllm: $(DEV) ## Slow lane: real vLLM on the CPU (installs some 4 GB once, into the user's cache)
	@$(BIN)/pytest -m vllm -s

test-browser: $(DEV) ## Slow lane: the report in Chromium, if there is one
	@$(BIN)/pytest -m browser

test-package: $(DEV) ## Slow lane: sdist, wheel, fresh environment
	@$(BIN)/pytest -m package

bench: $(DEV) ## Benchmarks of speed and of the demo; only meaningful on a quiet machine
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/speed.py
	@$(BIN)/python benchmarks/ranker_base.py
	@$(BIN)/python benchmarks/complete_journey.py

calibrate: $(DEV) ## Is the judge right as often as it says? Simulated worlds; takes long
	@$(BIN)/python benchmarks/clusters.py
	@$(BIN)/python benchmarks/interval_coverage.py
	@$(BIN)/python benchmarks/false_discovery.py
	@$(BIN)/python benchmarks/identification.py
	@$(BIN)/python benchmarks/logs.py
	@$(BIN)/python benchmarks/varying.py
	@$(BIN)/python benchmarks/shop_world.py --seeds 20

clean: ## Remove what make made: .venv, demo, build products, caches
	rm -rf $(VENV) $(STUDY) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.whyrank-demo-$(KEY):
	@sh .ci/venv.sh embedded,retail $@

$(DEV):
	@sh .ci/venv.sh dev,embedded,retail $@
