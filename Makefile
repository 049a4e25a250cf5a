# Every target works from a fresh clone on a Debian machine with Python: what is missing is installed first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

LAKE ?= lake
DBN ?=
PORT ?= 5006
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
export UV_COMPILE_BYTECODE := 1
RUN := $(UV) run --frozen
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# With them the real `spymaster serve` is started, which asks more of Panel, Bokeh and tornado than their names.
STARTS = $(addprefix tests/ui/test_access_attacks.py::test_,the_routes_of_the_running_server a_session_that_the_server_did_not_make_is_none)
QUICK = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHON -m pytest tests/unit $(STARTS) -n auto --dist loadfile -m "not long"

.PHONY: help demo live-demo test tests test-lowest test-python check-long lint style types bench bench-ui bench-live screenshots browser clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.tools/bin/uv:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; }
	python3 -m venv .tools
	.tools/bin/pip install --quiet uv

.venv/.synced: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen
	@touch $@

# An installed uv is a path outside the tree and needs no rule.
$(filter-out .tools/bin/uv,$(UV)): ;

# Where there is none: the one without windows if it can be had, whose pages take a third less work.
INSTALL = DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq
browser:
	@command -v chromium-headless-shell chromium chromium-browser google-chrome >/dev/null || { $(SUDO) apt-get update -qq && \
	  { $(INSTALL) chromium-headless-shell || $(INSTALL) chromium; }; }

demo: .venv/.synced ## From the DBN files of DBN=FOLDER (or a simulated market, KAPPA=0 for one without an edge) to the screen
	$(RUN) spymaster demo --lake $(LAKE) --port $(PORT) $(if $(DBN),--dbn "$(DBN)") $(if $(KAPPA),--kappa $(KAPPA))

live-demo: .venv/.synced ## A simulated morning as if it came live, with a fault now and then; no key is needed
	$(RUN) spymaster live-demo --port $(PORT)

# Types are checked beside the tests: half a minute of one core.
test: .venv/.synced browser ## Run every check and test, on all cores
	@$(MAKE) --no-print-directory style
	@$(MAKE) --no-print-directory -j2 types tests

# A file's tests share what they set up, and stay in one process; more threads than cores would contend. Half as many processes again as
# cores: those with a browser wait for a third of their time, and of twice as many some miss what they wait for. (nproc repeats what
# OMP_NUM_THREADS says.) Hundreds of processes begin, each with the same modules: what Python compiled of them is kept. Up to three of the
# browser's that fail are run once more, alone, and named.
TESTS ?= tests
tests: .venv/.synced
	@export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; unset PYTHONDONTWRITEBYTECODE; \
	  $(RUN) pytest $(TESTS) --cache-clear -n $$(($$(env -u OMP_NUM_THREADS nproc) * 3 / 2)) --dist loadfile --no-loadscope-reorder -m "not long" \
	  || $(RUN) python -m tests.support.again $$?

check-long: .venv/.synced browser ## Run the pooled statistics that `make test` leaves out, minutes each
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) pytest tests -n auto --dist load -m long

# In environments of their own, which uv fills: the project's stays as it is.
test-lowest: | $(UV) ## Run the quick tests with the oldest dependencies that pyproject.toml allows
	$(UV) venv --quiet --allow-existing .venv-lowest
	$(UV) pip compile --quiet pyproject.toml --group dev --resolution lowest-direct -p .venv-lowest/bin/python -o .venv-lowest/requirements.txt
	$(UV) pip sync --quiet -p .venv-lowest/bin/python .venv-lowest/requirements.txt
	NUMBA_CACHE_DIR=.venv-lowest/numba $(subst PYTHON,.venv-lowest/bin/python,$(QUICK))

PYTHON ?= 3.13
test-python: | $(UV) ## Run the quick tests on another Python, PYTHON=3.13
	UV_PROJECT_ENVIRONMENT=.venv-$(PYTHON) $(UV) sync --frozen --no-install-project --python $(PYTHON) --quiet
	NUMBA_CACHE_DIR=.venv-$(PYTHON)/numba $(subst PYTHON,.venv-$(PYTHON)/bin/python,$(QUICK))

lint: style types ## Check style, types and the direction of imports

style: .venv/.synced
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) lint-imports

types: .venv/.synced
	$(RUN) mypy

bench: .venv/.synced ## Print the benchmark table (medians, CPU time)
	$(RUN) python -m tests.bench

bench-ui: .venv/.synced browser ## Measure the screen in a real browser
	$(RUN) python -m tests.bench.bench_ui
	$(RUN) python -m tests.bench.bench_live

bench-live: .venv/.synced browser ## Measure a session under way: taking it in, and from a record to the screen
	$(RUN) python -m tests.bench live:
	$(RUN) python -m tests.bench.bench_live 30

screenshots: .venv/.synced browser ## Draw the pictures in assets/ again, from a simulated market
	$(RUN) python -m tests.ui.screenshots

clean: ## Remove what was built (never the lake)
	rm -rf .venv .venv-* .tools .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
