# make demo    a first comparison on built-in data, from a machine with nothing but Python
# make test    the tests, but for those that take longer than ten seconds
# make test-slow  those; .ci/run runs both
# make lint    ruff and mypy
# make coverage   which lines of perdure/ the tests run, in coverage/index.html
# make docs    the API reference and the README's tables, from the docstrings
# make bench   the speed comparison of docs/benchmarks.md (most of an hour)
# make clean   remove what the others made

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

# Threads that spin while they wait slow each other down as soon as anything else runs on the machine.
export OMP_WAIT_POLICY := PASSIVE
# Where Python keeps no compiled code, each of the tests' processes would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slow lint coverage docs bench clean

demo: $(VENV)/installed
	$(BIN)/perdure compare split-digits naive "ewc(strength=20)" "replay(capacity=200)" derpp joint \
	    --seeds 10 --out runs/first --overwrite

# One thread per worker: two workers with a thread each are faster than one worker with two.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) -m "not slow"

test-slow: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) -m slow

# Recording runs code under torch's tracer: lines that only it runs are counted as well.
coverage: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --cov=perdure --cov-report=term:skip-covered --cov-report=html:coverage

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed
	$(BIN)/python docs/generate.py

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/side_by_side.py

clean:
	rm -rf $(VENV) build dist perdure.egg-info runs .mypy_cache .ruff_cache .pytest_cache .coverage coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	    sys.exit(None if sys.version_info >= (3, 11) else f"Perdure needs Python 3.11 or later; PYTHON=$(PYTHON) is {v}")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev,agents,avalanche,text]"
	touch $@ $(VENV)/installed
