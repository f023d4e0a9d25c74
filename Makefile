# Two commands do all: `make demo` and `make test`. Each sets up what it needs in .venv once.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell command -v python$(v) 2>/dev/null)) python3)
VENV   ?= .venv
BIN     = $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check bench clean

demo: $(VENV)/.run          ## build the embedded demo once, then open the dashboard
	$(BIN)/python -m core demo

test: $(VENV)/.dev          ## run every test that this machine can run
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  echo "No Chromium found: the browser tests are skipped. To run them: apt-get install chromium (or your system's package)."
	$(BIN)/python -m pytest

check: $(VENV)/.dev         ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev         ## measure; DATASETS_DIR says where ml-1m lies
	$(BIN)/python -m tests.benchmarks

clean:                      ## remove what was built, the environment included
	rm -rf $(VENV) data/workspaces .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.run: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
