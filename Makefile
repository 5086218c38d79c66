# make demo   environment + the main job on built-in phantoms; prints the path of the report
# make env    .venv with the development extras
# make test   everything that CI runs (two processes of one thread: the tests' networks are tiny)
# make fuzz   FUZZ damaged files for every reader, and all property tests with fresh examples (about 10 minutes)
# make crash  kills train, synthesize and benchmark KILLS times each
PYTHON ?= python3
BIN := .venv/bin
DEMO_OUT ?= out/quickstart
FUZZ ?= 700
FUZZ_SEED ?= $(shell date +%s)
KILLS ?= 12

.PHONY: demo env test fuzz crash clean

demo: .venv/.installed
	$(BIN)/medaug run pipelines/quickstart.yaml --out $(DEMO_OUT)

env: .venv/.dev

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

fuzz: .venv/.dev
	@echo "again with: make fuzz FUZZ=$(FUZZ) FUZZ_SEED=$(FUZZ_SEED)"
	MEDAUG_FUZZ=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m hypothesis --hypothesis-seed=$(FUZZ_SEED)

crash: .venv/.dev
	MEDAUG_KILLS=$(KILLS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --timeout 1800 tests/stages/test_crashes.py tests/stages/benchmark/test_processes.py

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

clean:
	rm -rf .venv out
