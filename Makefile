# Everything a person or the continuous integration types. `make` alone prints the list.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check format accuracy bench doctor wheel clean
SHELL := /bin/sh

PY := .venv/bin/python
# Two test processes fit a small machine; more do not help, because the cluster tests start workers of their own.
TEST_JOBS ?= 2
PYTEST_ARGS ?=

help:  ## print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## make .venv with Abbe, its tools and the system libraries (quick when done already)
	@sh scripts/setup.sh test

demo:  ## simulate two lots with known truth, measure them, write a report (demo-run/report/index.html)
	@sh scripts/setup.sh base
	.venv/bin/abbe demo --out demo-run

test: setup  ## run all tests
	$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile $(PYTEST_ARGS)

check: setup  ## format, lint, types, layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: setup  ## write the format that `make check` asks for
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

accuracy: setup  ## compare with reference values and check the coverage of uncertainties (long)
	@for script in benchmarks/accuracy/[a-z]*.py; do \
	    [ -e "$$script" ] || { echo "no accuracy runs in benchmarks/accuracy"; exit 1; }; \
	    echo "== $$script"; $(PY) -m "$$(echo "$${script%.py}" | tr / .)" || exit 1; \
	done

bench: setup  ## measure speed (prints the machine it ran on)
	@for script in benchmarks/startup.py benchmarks/speed/[a-z]*.py; do \
	    [ -e "$$script" ] || continue; \
	    echo "== $$script"; $(PY) -m "$$(echo "$${script%.py}" | tr / .)" || exit 1; \
	done

doctor:  ## say what is missing on this machine and how to mend it
	@sh scripts/setup.sh base
	@.venv/bin/abbe doctor

wheel: setup  ## build dist/abbe-*.whl
	$(PY) -m build --wheel --outdir dist
	@rm -rf build

clean:  ## remove what the commands above made, except .venv
	rm -rf build dist demo-run *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -type d -name __pycache__ -print | xargs rm -rf
