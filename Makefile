# make demo   environment + the main job on built-in phantoms; prints the path of the report
# make env    .venv with the development extras
# make docs   the site in out/site; every warning is an error
# make test   everything that CI runs (two processes of one thread: the tests' networks are tiny)
PYTHON ?= python3
BIN := .venv/bin
DEMO_OUT ?= out/quickstart

.PHONY: demo docs env test clean

demo: .venv/.installed
	$(BIN)/medaug run pipelines/quickstart.yaml --out $(DEMO_OUT)

env: .venv/.dev

docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: .venv/.dev docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

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
