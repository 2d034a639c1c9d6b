# Everything happens inside this folder: `make clean` leaves no trace but package caches.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check bench catalogue clean

help:
	@echo "make setup      create .venv and install everything into it"
	@echo "make demo       train a ResNet-20 on real handwritten digits (a minute or two)"
	@echo "make test       every check and every test"
	@echo "make test-all   the same with the largest networks and every network by numbers (an hour)"
	@echo "make check      lint, format, types, direction of imports"
	@echo "make bench      side-by-side comparisons (slow, never part of the tests)"
	@echo "make catalogue  regenerate the model catalogue after editing the zoo"
	@echo "make clean      remove what make made"

setup: $(STAMP)

# uv goes into the environment by pip, so nothing has to be installed beforehand.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $(STAMP)

demo: setup
	$(BIN)/vertebra train digits --model resnet20 --seed $(or $(SEED),0)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

# Tests that keep to one thread, or to little, run on every core; the others start processes of their
# own, kill them by the clock, or use every core themselves.
PARALLEL := tests/anatomy tests/choice tests/core tests/data tests/evidence tests/nn tests/report tests/runs \
	tests/zoo tests/bench \
	$(addprefix tests/cli/test_,$(addsuffix .py,bench_command choose_command compare data errors evidence show)) \
	$(addprefix tests/train/test_,$(addsuffix .py,average fit kills labels loss lr_finder nonfinite norms \
	optimizer own_data parts plan_and_tune precision resume sam schedule scores tta)) \
	$(addprefix tests/runtime/test_runtime_,$(addsuffix .py,engines export quantise setup))

test: check
	$(BIN)/python -m pytest -n auto --dist worksteal $(PARALLEL)
	$(BIN)/python -m pytest $(addprefix --ignore=,$(PARALLEL))

# The largest networks take up to 12 GB each, so one at a time.
test-all: check
	$(BIN)/python -m pytest -m "" $(PARALLEL)
	$(BIN)/python -m pytest $(addprefix --ignore=,$(PARALLEL))

bench: setup
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/input_pipeline.py --size 224
	$(BIN)/python benchmarks/input_pipeline.py --size 128
	$(BIN)/python benchmarks/listing.py
	$(BIN)/python benchmarks/precisions.py
	$(BIN)/python benchmarks/grouped_convs.py
	$(BIN)/python benchmarks/train_throughput.py
	$(BIN)/python benchmarks/train_vs_timm.py
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python benchmarks/zoo_speed.py
	$(BIN)/python benchmarks/anatomy_speed.py
	$(BIN)/python benchmarks/roofline.py
	$(BIN)/python benchmarks/bench_truth.py
	$(BIN)/python benchmarks/stopping.py

catalogue: setup
	$(BIN)/python -m vertebra.zoo.catalogue

clean:
	rm -rf .venv runs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
