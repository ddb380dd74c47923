# `make help` lists the verbs. Each sets up .venv by itself; the second run is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_CONFIG := configs/demo.toml

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check docs picture format clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(READY)  ## set up .venv with everything the commands need

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch>=2.11,<=2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: $(READY)  ## write a synthetic cohort, run both stages on it, print the performance table
	$(BIN)/python extract.py phantom $(DEMO_CONFIG)
	$(BIN)/python extract.py run $(DEMO_CONFIG)
	$(BIN)/python aggregate.py run $(DEMO_CONFIG)

test: $(READY)  ## run the test suite (under 5 minutes on 2 cores)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slow: $(READY)  ## run the tests marked slow: kills, torch.compile, the long pages of docs
	$(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile

check: $(READY)  ## lint, formatting, strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## write the pages in docs/ as a site: docs/_build/docs/index.html; a warning is an error
	$(BIN)/python docs/make_site.py docs/_build

picture: $(READY)  ## draw the picture of the README from the report of `make demo` (needs chromium)
	$(BIN)/python docs/make_picture.py results/demo/report.html

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## delete the environment, the caches and the demo's results
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info docs/_build results/demo
