# make demo   environment + the main job on built-in phantoms; prints the path of the report
# make env    .venv with the development extras
# make docs   the site in out/site; every warning is an error
# make test   everything that CI runs (two processes of one thread: the tests' networks are tiny)
# make dist   the source distribution and the wheel, in dist/
# make licences            docs/licences.md, from what is installed
# make audit-dependencies  known vulnerabilities of the pins in constraints.txt; needs the package index's advisories
# make fuzz   FUZZ damaged files for every reader, and all property tests with fresh examples (about 10 minutes)
# make bench  speed, memory and ratios to plain implementations, on an idle machine
# make calibration  how often verdicts are false, and how often true effects are found (about 10 minutes)
# make gpu-check  is a GPU used rightly, and how fast: a table, and out/gpu-check.json; PYTHON=python3 needs no .venv
# make crash  kills train, synthesize and benchmark KILLS times each
PYTHON ?= python3
BIN := .venv/bin
DEMO_OUT ?= out/quickstart
FUZZ ?= 800
FUZZ_SEED ?= $(shell date +%s)
KILLS ?= 12

.PHONY: demo docs env test dist licences audit-dependencies fuzz crash bench calibration gpu-check clean

demo: .venv/.installed
	$(BIN)/medaug run pipelines/quickstart.yaml --out $(DEMO_OUT)

env: .venv/.dev

docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: .venv/.dev docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

dist: .venv/.release
	rm -rf dist
	$(BIN)/python -m build

# Some packages give their whole licence in the place of its name: its first line stands for it.
licences: .venv/.dev
	{ sed '/^|/,$$d' docs/licences.md; $(BIN)/pip-licenses --format=markdown --order=name --no-version --with-system \
	    --packages $$(sed -n 's/==.*//p' constraints.txt) | \
	    sed -e '/^| \{3,\}/d' -e 's/ Apache License *|/ Apache-2.0 |/' -e 's/  *|$$/ |/'; } > docs/licences.new
	mv docs/licences.new docs/licences.md

# --strict: where the advisories cannot be reached, nothing was audited, and that must not look like a clean result.
audit-dependencies: .venv/.release
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip || \
	    { echo "audit-dependencies: vulnerable pins, or (\"could not be audited\") advisories out of reach" >&2; exit 1; }

fuzz: .venv/.dev
	@echo "again with: make fuzz FUZZ=$(FUZZ) FUZZ_SEED=$(FUZZ_SEED)"
	MEDAUG_FUZZ=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m hypothesis --hypothesis-seed=$(FUZZ_SEED)

crash: .venv/.dev
	MEDAUG_KILLS=$(KILLS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --timeout 1800 tests/stages/test_crashes.py tests/benchmark/test_processes.py

bench: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -o addopts="--import-mode=importlib" -q tests/benchmarks

calibration: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/calibration.py

# The command's PYTHON, or that of .venv where there is one.
gpu-check:
	$(if $(filter file default,$(origin PYTHON)),$(or $(wildcard $(BIN)/python),$(PYTHON)),$(PYTHON)) -m tests.benchmarks.gpu_check --out out/gpu-check.json

# torch first, by its exact version: a range would let pip choose a newer build with CUDA.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install -q "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/.installed
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	touch $@

.venv/.release: .venv/.dev
	$(BIN)/pip install -q -c constraints.txt -e ".[release]"
	touch $@

clean:
	rm -rf .venv out dist
