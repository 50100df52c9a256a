# make alone lists what can be done. Variables: PYTHON, TORCH_INDEX, ARGS.

PYTHON ?= python3
VENV ?= .venv
# The CPU build of torch is enough, and a tenth of the size. For a GPU, name the index of its
# build, or leave it empty (TORCH_INDEX=) to take torch from where pip takes everything.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
CONSTRAINTS := constraints.txt

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNTIME := $(VENV)/.filterd-runtime
DEV := $(VENV)/.filterd-dev
SOURCES := filterd trainer tests deploy

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format deploy constraints vendor clean

help: ## List what can be done
	@sed -n 's/^\([a-z]*\):.*## /\1 | /p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name what; do printf '  make %-14s%s\n' "$$name" "$$what"; done
	@echo '  ARGS="…" is passed on, as in: make demo ARGS="--rate 50", make test ARGS="-k tail"'

demo: $(RUNTIME) ## Server, daemon and a sample of messages; Ctrl-C stops it all
	@exec $(BIN)/filterd demo $(ARGS)

test: $(DEV) ## All tests, on all cores
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile $(ARGS)

check: lint ## Lint, formatting, types, directions of imports
	$(BIN)/mypy
	$(BIN)/lint-imports

lint: $(DEV) ## Lint and formatting
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(DEV) ## Format, and fix what can be fixed
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

deploy: $(DEV) ## Make what in deploy/ is made from something else there
	$(BIN)/python deploy/grafana/dashboard.py > deploy/grafana/dashboard.json
	$(BIN)/python deploy/kubernetes/prometheus_rule.py > deploy/kubernetes/prometheus-rule.yaml

constraints: ## Renew constraints.txt with the newest versions that pyproject.toml accepts
	$(MAKE) --always-make VENV=.venv-fresh CONSTRAINTS=/dev/null TORCH= .venv-fresh/.filterd-dev
	{ sed -n '/^#/p' constraints.txt; .venv-fresh/bin/python -m pip freeze --exclude-editable | \
		sed 's/^\(torch==[0-9.]*\)+.*/\1/'; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-fresh

UPLOT := 1.6.32
VENDOR := filterd/web/vendor
vendor: ## Fetch uPlot, the page's charts, from npm again
	rm -rf $(VENDOR) && mkdir $(VENDOR)
	cd $(VENDOR) && npm pack --silent uplot@$(UPLOT) && tar -xzf uplot-$(UPLOT).tgz
	cd $(VENDOR) && mv package/dist/uPlot.iife.min.js package/dist/uPlot.min.css . && \
		mv package/LICENSE uPlot-LICENSE && rm -r package uplot-$(UPLOT).tgz

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .venv-fresh build dist *.egg-info .hypothesis
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp file for each step: the second time nothing is left to do.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "filterd needs Python 3.11 or later, and $(PYTHON) is not:" \
			"name one, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.filterd-torch: constraints.txt | $(BIN)/python
	@$(BIN)/python -c 'from importlib.metadata import version as v; import sys; \
		sys.exit(v("torch").partition("+")[0] != "$(TORCH)")' 2>/dev/null || \
	test -z "$(TORCH_INDEX)" || \
	$(PIP) install --retries 1 --timeout 15 --no-deps \
		--index-url "$(TORCH_INDEX)" $(if $(TORCH),torch==$(TORCH),torch) || \
	echo "$(TORCH_INDEX) cannot be reached: torch comes from where pip takes everything"
	@touch $@

$(RUNTIME): $(VENV)/.filterd-torch pyproject.toml
	@echo "installing filterd and what it needs; this takes a minute the first time …"
	@$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable .
	@touch $@

$(DEV): $(VENV)/.filterd-torch pyproject.toml
	@echo "installing filterd and what it needs; this takes a minute the first time …"
	@$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@ $(RUNTIME)
