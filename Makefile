# Everything runs in a virtual environment that make sets up on first use: all it takes is Python 3.11 or newer, with pip.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

PY := $(VENV)/bin/python
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
FLOOR_VENV := $(VENV)-floor
FLOOR := $(FLOOR_VENV)/.installed
PEERS_VENV := $(VENV)-peers
PEERS := $(PEERS_VENV)/.installed
BENCH_VENV := $(VENV)-bench
BENCH := $(BENCH_VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# PROMPT reaches the demo through the environment, byte for byte: the shell never reads it, and make must not expand it.
ifeq ($(origin PROMPT),command line)
override PROMPT := $(value PROMPT)
endif
ifneq ($(origin PROMPT),undefined)
export PROMPT
endif

.PHONY: help demo test check lint types arch coverage test-floor test-peers bench clean
.DEFAULT_GOAL := help

help: ## show this
	@echo 'make needs Python 3.11 or newer (PYTHON=$(PYTHON)) and sets up $(VENV) itself (VENV=...).'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: $(CORE) ## a streamed answer, with no key and no network; PROMPT='...' or PROMPT=@file asks something else
	@"$(PY)" examples/demo.py

test: $(DEV) ## run the tests; ARGS='tests/test_sse.py -x' runs some of them
	"$(PY)" -m pytest -q $(ARGS)

check: lint types arch coverage ## everything that must hold: style, types, architecture, tests with full coverage

lint: $(DEV)
	"$(PY)" -m ruff check .
	"$(PY)" -m ruff format --check .

types: $(DEV)
	"$(PY)" -m mypy

arch: $(DEV)
	"$(VENV)/bin/lint-imports" --no-cache --no-logo

coverage: $(DEV) ## run the tests and show the lines and branches that they miss
	@"$(PY)" -m coverage erase
	"$(PY)" -m coverage run -m pytest -q $(ARGS)
	@"$(PY)" -m coverage combine -q
	@"$(PY)" -m coverage report

test-floor: $(FLOOR) ## run the tests with the oldest dependencies that pyproject.toml allows
	@echo "With $$(tr '\n' ' ' <"$(FLOOR_VENV)/floor.txt")"
	"$(FLOOR_VENV)/bin/python" -m pytest -q $(ARGS)

test-peers: $(PEERS) ## run other people's clients against the fake; they need Python 3.12 or newer
	"$(PEERS_VENV)/bin/python" -m pytest -q tests/peers $(ARGS)

bench: $(BENCH) ## measure beside other clients; ARGS='--scenario unary --peer openai' and more: ARGS=--help
	@"$(BENCH_VENV)/bin/python" -m benchmarks $(ARGS)

clean: ## remove what make made
	rm -rf .venv .venv-* build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find moonshot_async tests examples benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp is written when its installation is complete and removed before the next one begins. So an environment without
# a stamp was cut short and is made anew, unless somebody else made it and it works: then it is used as it is. (Ours are
# known by their prompt, which is written before anything else.)
# $(1): the directory; $(2): its stamps
define start_install
@if [ ! -e "$(firstword $(2))" ] && { grep -qs '^prompt = .*moonshot_async' "$(1)/pyvenv.cfg" \
        || ! "$(1)/bin/python" -c 'import pip' >/dev/null 2>&1; }; then \
    "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "moonshot_async needs Python 3.11 or newer;" \
        " $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.13" % sys.version_info[:2])' || exit 1; \
    if [ -e "$(1)/pyvenv.cfg" ]; then clear=--clear; fi; \
    "$(PYTHON)" -m venv $$clear --prompt moonshot_async "$(1)" || exit 1; \
fi
@rm -f $(2)
@echo 'Installing into $(1), once; this needs the package registry ...' >&2
endef

# The first pip that knows dependency groups; those that come with Python may be older.
PIP_WITH_GROUPS := 'pip>=25.1'

# The stamps go when they no longer tell the truth: the tree was moved or copied, or its Python is gone.
$(shell "$(PY)" -Pc 'import os, pip; from importlib.util import find_spec as f; \
    assert os.path.samefile(f("moonshot_async").origin, "moonshot_async/__init__.py")' 2>/dev/null || rm -f $(CORE) $(DEV))

$(CORE): pyproject.toml
	$(call start_install,$(VENV),$(CORE) $(DEV))
	@"$(PY)" -m pip install -qq --editable .
	@touch $@

$(DEV): $(CORE)
	@rm -f $(CORE)
	@echo 'Installing the development tools into $(VENV), once ...' >&2
	@"$(PY)" -m pip install -qq $(PIP_WITH_GROUPS)
	@"$(PY)" -m pip install -qq --group dev
	@touch $(CORE) && touch $@

$(FLOOR): pyproject.toml
	$(call start_install,$(FLOOR_VENV),$(FLOOR))
	@"$(FLOOR_VENV)/bin/python" -c 'import tomllib; \
	    project = tomllib.load(open("pyproject.toml", "rb"))["project"]; extras = project["optional-dependencies"]; \
	    needs = [*project["dependencies"], *extras["cli"], *extras["report"]]; \
	    print(*(need.replace(">=", "==") for need in needs), sep="\n")' >"$(FLOOR_VENV)/floor.txt"
	@"$(FLOOR_VENV)/bin/python" -m pip install -qq $(PIP_WITH_GROUPS)
	@"$(FLOOR_VENV)/bin/python" -m pip install -qq --constraint "$(FLOOR_VENV)/floor.txt" --editable . --group dev
	@touch $@

$(PEERS): pyproject.toml
	$(call start_install,$(PEERS_VENV),$(PEERS))
	@"$(PEERS_VENV)/bin/python" -m pip install -qq $(PIP_WITH_GROUPS)
	@"$(PEERS_VENV)/bin/python" -m pip install -qq --editable . --group peers
	@touch $@

$(BENCH): pyproject.toml
	$(call start_install,$(BENCH_VENV),$(BENCH))
	@"$(BENCH_VENV)/bin/python" -m pip install -qq $(PIP_WITH_GROUPS)
	@"$(BENCH_VENV)/bin/python" -m pip install -qq --editable . --group bench
	@touch $@
