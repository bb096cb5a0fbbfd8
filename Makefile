# make demo   set up, then train on drawn characters, evaluate and look into the memory (a few minutes on 2 cores)
# make test   set up with the development tools, then lint, type check and test
# make test-all  the same, then the slow tests: guides, notebook, benchmark cases, several processes
# make acceptance  the commands that users type, from an installed wheel and sdist, with and without extras
# make bench  time steps, episodes and commands beside references and packages; BENCH='--quick --only ntm' for less
# make lock  write requirements.lock: the packages of '.[all]' with their hashes, in the versions of constraints.txt
# make trust  kill it, fill and break its disk, feed it 10,000 hostile inputs; TRUST='--quick --only fuzz' for less
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
BENCH := --json runs/bench/bench.json --markdown runs/bench/tables.md --plot runs/bench/growth.png

LOCK :=
TRUST :=

.PHONY: demo test test-all acceptance bench lock trust lint format clean

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/bench: $(VENV)/core
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	touch $@

$(VENV)/fuzz: $(VENV)/dev
	-$(BIN)/pip install -q -c constraints.txt atheris
	touch $@

demo: $(VENV)/core
	rm -rf $(DEMO)
	$(BIN)/metacli sample-tasks strokes_ntm -n 1
	$(BIN)/metacli train recipes/strokes_ntm.yaml --run-dir $(DEMO)
	$(BIN)/metacli eval --checkpoint $(DEMO) --tasks 500
	$(BIN)/metacli inspect-memory --checkpoint $(DEMO) --out $(DEMO)/memory

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy metacli

test: lint
	$(BIN)/python -m pytest -n 2

test-all: test
	$(BIN)/python -m pytest -n 2 -m slow

acceptance: $(VENV)/dev
	$(BIN)/python -m tests.acceptance

bench: $(VENV)/bench
	$(BIN)/python -m tests.bench $(BENCH)

lock: $(VENV)/core
	$(BIN)/pip install -q -c constraints.txt uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-emit-index-url --extra all \
		-c constraints.txt -o requirements.lock $(LOCK) pyproject.toml

trust: $(VENV)/fuzz
	$(BIN)/python -m tests.trust $(TRUST)

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist
