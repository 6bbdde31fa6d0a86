# Everything runs in an environment of its own, .venv, which is made on first use.
PYTHON   ?= python3
VENV     ?= .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
EXTRAS   ?= dev

# Without SOURCE a synthetic sample is drawn and built in a data directory of its own, where it can never
# pass for the real images.
SOURCE   ?=
NUM      ?= 400
SEED     ?= 0
SIZE     ?= 256
SAMPLE   := build/sample
ifeq ($(strip $(SOURCE)),)
DATA_DIR ?= build/synthetic
else
DATA_DIR ?= $(if $(TFDS_DATA_DIR),$(TFDS_DATA_DIR),$(HOME)/tensorflow_datasets)
endif
RUNNER   ?=
PRESET   ?= stacked-256
TRAIN_ARGS ?= --smoke
LADDER_NUM ?= 1120
LADDER_ARGS ?= --budget 6000 --downsample 4
ARGS     ?=

.DEFAULT_GOAL := help
.PHONY: help install shards train ladder test test-torch test-full lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make shards SOURCE=DIR    train.csv beside train/ or the unopened train.zip; without it: a synthetic sample"
	@echo "       DATA_DIR=DIR         where the dataset goes          [$(DATA_DIR)]"
	@echo "       SIZE=256             pixels a side                   [$(SIZE)]"
	@echo "       NUM=400 SEED=0       examples of the synthetic sample, and its seed"
	@echo "       ARGS='--on-error quarantine'   any other option of 'python -m pipeline shards'"
	@echo "  make train PRESET=best TRAIN_ARGS=   the whole of a preset: see 'python -m model.train --help'"

install: $(STAMP) ## make the environment in .venv (the other targets do it by themselves)

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

shards: $(STAMP) ## build the dataset from SOURCE=DIR, or from a synthetic sample
ifeq ($(strip $(SOURCE)),)
	$(BIN)/python -m pipeline sample $(SAMPLE)-$(NUM)-$(SEED) --num $(NUM) --seed $(SEED)
endif
	$(BIN)/python -m pipeline shards --source '$(or $(strip $(SOURCE)),$(SAMPLE)-$(NUM)-$(SEED))' \
	  --data-dir '$(DATA_DIR)' --size $(SIZE) $(if $(RUNNER),--runner=$(RUNNER)) $(ARGS)

train: $(STAMP) ## train on what `make shards` built: the small form by default
	$(BIN)/python -m model.train --preset $(PRESET) $(TRAIN_ARGS) --data-dir '$(DATA_DIR)'

ladder: $(STAMP) ## the five models with equal budgets on a synthetic atlas: small form, tens of minutes on a CPU
	$(BIN)/python -m pipeline sample build/ladder-sample-$(LADDER_NUM) --num $(LADDER_NUM) --balanced
	$(BIN)/python -m pipeline shards --source build/ladder-sample-$(LADDER_NUM) --data-dir build/ladder-$(LADDER_NUM)
	$(BIN)/python -m model.ladder --data-dir build/ladder-$(LADDER_NUM) --out runs/ladder-$(LADDER_NUM) $(LADDER_ARGS)

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest

# Torch's compiler and TensorFlow each bring an LLVM, and some pairs of versions abort when both are loaded;
# the trainer does not use that compiler.
test-torch: ## one step on TensorFlow, JAX and Torch gives the same loss (downloads 3 GB)
	$(MAKE) install VENV=$(VENV)-torch EXTRAS=dev,torch
	$(VENV)-torch/bin/pip uninstall --quiet --yes triton
	$(VENV)-torch/bin/python -m pytest -m "torch or not torch" tests/test_model_backends.py

test-full: $(STAMP) ## build a full-size stand-in: time, memory, three kills (20 minutes, 20 GB of disk)
	$(BIN)/python -m pytest -m full -s tests/test_full_size.py

lint: $(STAMP) ## check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove what was built here, and the environment
	rm -rf build $(VENV) $(VENV)-torch *.egg-info .pytest_cache .mypy_cache .ruff_cache
