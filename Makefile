# Two commands: `make demo` and `make test`. Everything else is for developers.
PYTHON ?= python3
PYTHON39 ?= python3.9
BIN := .venv/bin
EXTRAS := dev,device
ONLY ?=
ARGS ?=

# Every part here is a process of its own: compiling torch anew at each start costs ten seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo experiment experiment-quick test test-slow check serve bench tables venv clean accept-ncs2

demo: .venv/installed  ## the main job, end to end, on real data
	@$(BIN)/stillhouse demo

experiment: .venv/installed  ## every stage of the research plan, on real data
	@$(BIN)/stillhouse experiment run examples/digits/experiment.yaml --page docs/experiments/digits.md

experiment-quick: .venv/installed  ## the same in the small
	@$(BIN)/stillhouse experiment run examples/digits/experiment-quick.yaml --folder experiment-quick

# One thread in each of three processes. Tests wait for a quarter of their time: on two cores two
# processes take 681 s, three 561.
test: .venv/installed  ## every test but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -m "not slow" -n 3 --dist worksteal

test-slow: .venv/installed
	$(BIN)/python -m pytest -q -rs -m slow

check: .venv/installed  ## formatting, lint, types, contracts between packages, generated tables
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python benches/tables.py --check

serve: .venv/installed
	$(BIN)/stillhouse serve

bench: .venv/installed  ## figures into benches/results/*.json; ONLY=name runs one, ARGS="--option" goes to it
	$(BIN)/pip install -q -c constraints.txt -e ".[$(EXTRAS),bench]"
	$(BIN)/python benches/run.py $(ONLY) $(ARGS)

tables: .venv/installed  ## write the tables of docs/ anew from benches/results/*.json
	$(BIN)/python benches/tables.py

accept-ncs2:  ## for who has a stick: check every claim marked unverified, write accept-ncs2.json
	$(PYTHON39) -m venv build/ncs2
	build/ncs2/bin/pip install -q "./benchmark[openvino2021]"
	build/ncs2/bin/stillhouse-worker accept-ncs2 --unplug --json accept-ncs2.json

venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Stillhouse needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	@echo "Installing into .venv (once, a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ".[$(EXTRAS)]" 2>.venv/pip.log || { cat .venv/pip.log; exit 1; }
	@touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
