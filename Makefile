# Everything runs in an environment of its own, .venv, which is made on first use.
PYTHON   ?= python3
VENV     ?= .venv
BIN      := $(VENV)/bin
EXTRAS   ?= dev
comma    := ,
STAMP     = $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

# What the targets for users need: building needs neither TensorFlow nor Keras.
BUILD     = $(VENV)/.installed-$(or $(CLOUD),base)
TRAIN     = $(VENV)/.installed-train
CLOUD     =

HPA      := $(BIN)/hpa-stacked

# With this variable, these commands name the next step as a make target.
shards train evaluate report: export HPA_STACKED_MAKE = 1

# Any text, quoted as one shell word.
quote     = '$(subst ','\'',$(1))'

# Without SOURCE a synthetic sample is drawn and built in its own data directory, where it cannot be mistaken for
# the real images. DATA_DIR is where the dataset is; without it, shards and train use the directories that
# `pipeline/data_dirs.py` chooses.
SOURCE   ?=
NUM      ?= 400
SEED     ?= 0
SIZE     ?= 256
SAMPLE   := build/sample
DATA_DIR ?=
DATA     := $(if $(DATA_DIR),--data-dir $(call quote,$(DATA_DIR)))
PRESET   ?= stacked-256
TRAIN_ARGS ?= --smoke
# Paths of runs, quoted for the shell if they have spaces; by default the newest run.
RUN      ?= $(shell ls -t runs/*/config.json 2>/dev/null | head -n 1 | sed "s/'/'\\\\''/g; s/^/'/; s|/config.json$$|'|")
LADDER_NUM ?= 6000
LADDER_SIZE ?= 128
LADDER_ARGS ?= --jobs $(JOBS)
GPU_EXTRAS ?= gpu
GPU_ARGS ?=
WHEELS   ?=
# With WHEELS=DIR pip takes everything from that folder, and nothing from the network.
PIP_ARGS := --quiet --disable-pip-version-check $(if $(WHEELS),--no-index --find-links '$(WHEELS)')
CELLS    ?= ../shared/data/mitocheck
CELLS_ARGS ?=
ARGS     ?=
JOBS     ?= 2
CASES    ?= 1060000
FAULTS   ?= 1100
TEST_ARGS ?=

# All variables that may be set on the command line; without this check, a misspelt name would be ignored.
OPTIONS  := PYTHON VENV EXTRAS SOURCE NUM SEED SIZE DATA_DIR PRESET TRAIN_ARGS RUN LADDER_NUM LADDER_SIZE LADDER_ARGS \
  GPU_EXTRAS GPU_ARGS WHEELS CELLS CELLS_ARGS ARGS JOBS CASES FAULTS TEST_ARGS RUNNER PROJECT REGION TEMP IMAGE \
  FLINK FLINK_RUNS BEAM_GO SHELL
UNKNOWN  := $(strip $(foreach name,$(filter-out $(OPTIONS),$(.VARIABLES)),$(if $(filter command,$(origin $(name))),$(name))))
$(if $(UNKNOWN),$(error no such variable: $(UNKNOWN); those that can be set are $(filter-out SHELL,$(OPTIONS))))

# On a cluster (docs/dataflow.md, docs/flink.md): RUNNER, and for Dataflow these.
RUNNER   ?=
PROJECT  ?=
REGION   ?=
TEMP     ?=
IMAGE    ?=
RUNNER_ARGS := $(if $(RUNNER),--runner=$(RUNNER))
ifeq ($(RUNNER),DataflowRunner)
EMPTY       := $(strip $(foreach name,PROJECT REGION TEMP,$(if $(strip $($(name))),,$(name)=)))
$(if $(EMPTY),$(error RUNNER=DataflowRunner needs $(EMPTY), see docs/dataflow.md))
CLOUD       := gcp
RUNNER_ARGS += --project=$(PROJECT) --region=$(REGION) --temp_location=$(TEMP) \
  --machine_type=n1-standard-4 --number_of_worker_harness_threads=1 \
  $(if $(IMAGE),--sdk_container_image=$(IMAGE) --sdk_location=container,--setup_file=$(call quote,$(CURDIR)/setup.py) \
  --requirements_file=$(call quote,$(CURDIR)/worker-requirements.txt) --requirements_cache=skip)
endif

.DEFAULT_GOAL := help
.PHONY: help install shards train evaluate report ladder ladder-full cells gpu gpu-wheels test torture fuzz test-package test-torch test-full test-cluster bench bench-full docs lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make shards SOURCE=DIR    train.csv next to train/ or the unopened train.zip; without it: a synthetic sample"
	@echo "       DATA_DIR=DIR         where the dataset goes, and where train finds it   [what was built last]"
	@echo "       SIZE=256             pixels a side                   [$(SIZE)]"
	@echo "       NUM=400 SEED=0       examples of the synthetic sample, and its seed"
	@echo "       RUNNER=DataflowRunner PROJECT= REGION= TEMP=gs://...   on Dataflow (docs/dataflow.md)"
	@echo "       RUNNER=PortableRunner ARGS='--job_endpoint=... ...'    on Flink, Spark or Prism (docs/flink.md, docs/prism.md)"
	@echo "       ARGS='--on-error quarantine'   any other option of 'python -m pipeline shards'"
	@echo "  make train PRESET=best TRAIN_ARGS=   the whole of a preset: see 'python -m model.train --help'"
	@echo "  make cells CELLS_ARGS='--only grouped --fold 0'   only one fold: see 'python -m model.cells --help'"
	@echo "  make report RUN=runs/best-1          the run to show; by default the newest"

install: $(STAMP) ## make the environment in .venv (other targets do this when needed)

INSTALLING-base  := what building needs into $(VENV) (0.8 GB, some minutes)
INSTALLING-train := what training needs into $(VENV) (2.9 GB, some minutes)

# Setuptools prints a warning box for any editable installation.
$(VENV)/.installed-%: setup.cfg pyproject.toml
	@echo "installing $(or $(INSTALLING-$*),the extra $(subst -,$(comma),$*) into $(VENV) (some minutes))" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_ARGS) --upgrade pip
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/pip install $(PIP_ARGS) --editable '.$(if $(filter-out base,$*),[$(subst -,$(comma),$*)])'
	@touch $@ $(VENV)/.installed-base $(if $(findstring dev,$*),$(TRAIN))

shards: $(BUILD) ## build the dataset from SOURCE=DIR, or from a synthetic sample
ifeq ($(strip $(SOURCE)),)
	$(HPA) sample $(SAMPLE)-$(NUM)-$(SEED) --num $(NUM) --seed $(SEED)
endif
	$(HPA) shards --source $(call quote,$(or $(SOURCE),$(SAMPLE)-$(NUM)-$(SEED))) --size $(SIZE) $(DATA) $(RUNNER_ARGS) $(ARGS)

train: $(TRAIN) ## train on what was built last, or in DATA_DIR; by default a short run
	$(HPA) train --preset $(PRESET) $(if $(filter file,$(origin SIZE)),,--size $(SIZE)) $(TRAIN_ARGS) $(DATA)

evaluate: $(if $(RUN),$(TRAIN)) ## score RUN (by default the newest in runs/): intervals, thresholds, reliance on each channel
	$(HPA) evaluate $(or $(RUN),$(error no run in runs/: 'make train' makes one)) $(ARGS)

report: $(if $(RUN),$(TRAIN)) ## one HTML page of RUN, or of several: RUN='runs/a runs/b'
	$(HPA) report $(or $(RUN),$(error no run in runs/: 'make train' makes one)) $(ARGS)

ladder: $(if $(filter dev,$(EXTRAS)),$(TRAIN),$(STAMP)) ## train the paper's models and those between them on a synthetic atlas (some hours on two cores)
	$(BIN)/python -m pipeline sample build/ladder-sample-$(LADDER_NUM) --num $(LADDER_NUM) --balanced
	$(BIN)/python -m pipeline shards --source build/ladder-sample-$(LADDER_NUM) --data-dir build/ladder-$(LADDER_NUM) --size $(LADDER_SIZE)
	$(BIN)/python -m model.ladder --data-dir build/ladder-$(LADDER_NUM) --size $(LADDER_SIZE) --out runs/ladder-$(LADDER_NUM) \
	  --results runs/ladder-$(LADDER_NUM)/results.json $(LADDER_ARGS)

ladder-full: ## the same with 31,072 examples at 256 x 256 and networks of full width: for a GPU
	$(MAKE) ladder EXTRAS=$(GPU_EXTRAS) LADDER_NUM=31072 LADDER_SIZE=256 LADDER_ARGS='--width 64 --budget 1000000'

# JAX computes, TensorFlow reads the data.
gpu: ## measure training on this machine's device, then train the full ladder; WHEELS=DIR: without a network (docs/gpu.md)
	$(MAKE) install VENV=$(VENV)-gpu EXTRAS=cuda
	KERAS_BACKEND=jax $(VENV)-gpu/bin/python -m bench.gpu --out build/gpu.json $(GPU_ARGS)
	KERAS_BACKEND=jax $(MAKE) ladder-full VENV=$(VENV)-gpu GPU_EXTRAS=cuda

gpu-wheels: ## download what `make gpu` installs to WHEELS=DIR, for a machine without a network
	$(PYTHON) -m pip download --disable-pip-version-check --dest '$(or $(WHEELS),$(error WHEELS=DIR says where to))' \
	  '.[cuda]' pip setuptools wheel

cells: $(STAMP) ## five folds of real nuclei by plate, and five at random, on CELLS=DIR
	$(BIN)/python -m model.cells --source '$(CELLS)' --schema examples/mitocheck.toml --out runs/cells \
	  --results docs/cells.json --table docs/cells.md $(CELLS_ARGS)

fuzz: $(STAMP) ## read CASES=1060000 damaged inputs of every format, and write docs/hostile_inputs.md (20 minutes)
	$(BIN)/python -m tests.fuzz --cases $(CASES) --seed $(SEED) --jobs $(JOBS) --out build/fuzz.json $(ARGS)
	$(BIN)/python -m tests.fuzz.hostile --write docs/hostile_inputs.md

torture: $(STAMP) ## inject FAULTS=1100 faults into small builds: kills, full disks, damage, failing stores (10 minutes)
	$(BIN)/python -m tests.torture --num $(FAULTS) --seed $(SEED) --jobs $(JOBS)
	$(BIN)/python -m tests.torture.load

test: $(STAMP) ## run the tests in JOBS=2 processes (JOBS=0: in one)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TEST_ARGS)

test-package: $(STAMP) ## install the wheel and the sdist in empty environments, and use them (5 minutes, downloads 2 GB)
	$(BIN)/python -m pytest -m package -s tests/test_package.py

# Torch's compiler and TensorFlow each bring an LLVM, and some pairs of versions abort when both are loaded;
# the trainer does not use that compiler.
test-torch: ## one step on TensorFlow, JAX and Torch gives the same loss; a DataLoader reads a dataset (downloads 3 GB)
	$(MAKE) install VENV=$(VENV)-torch EXTRAS=dev,torch
	$(VENV)-torch/bin/pip uninstall --quiet --yes triton
	$(VENV)-torch/bin/python -m pytest -m "torch or not torch" tests/model/training/test_backends.py tests/test_reading.py

bench: ## measure building, reading, planning and resuming, compared with peers (20 minutes; downloads 3 GB)
	$(MAKE) install VENV=$(VENV)-bench EXTRAS=dev,bench
	$(VENV)-bench/bin/pip uninstall --quiet --yes triton
	HPA_STACKED_LAST= $(VENV)-bench/bin/python -m bench run --out build/bench.json $(ARGS)

bench-full: ## the same, with builds of up to 31,072 examples and plans of up to 10 million rows (an hour)
	$(MAKE) bench ARGS='--full $(ARGS)'

test-full: $(STAMP) ## build a full-size stand-in: time, memory, three kills (20 minutes, 20 GB of disk)
	$(BIN)/python -m pytest -m full -s tests/test_full_size.py tests/pipeline/atlas

# Prism and a fake Google Cloud Storage are Go programs. Flink's libraries come from a Python package, and Beam's
# job server for Flink from Maven. Workers have their own environment, in which this package is installed without
# the repository.
CLUSTER   := .cluster
FLINK     ?= 1.19.3
BEAM_GO   ?= v2.77.0
# Servers must be reachable only from this machine, but Prism listens on every address: where Linux allows it, the
# tests run in their own network, which has only loopback.
LOOPBACK  := $(if $(shell unshare -rn true 2>/dev/null && echo yes),unshare -rn sh -c 'ip link set lo up && exec "$$@"' --)

test-cluster: $(CLUSTER)/.ready ## run the job on Prism, Flink, Spark and a stub of Dataflow (needs Go, Java, Maven)
	$(LOOPBACK) $(BIN)/python -m pytest -m cluster -s tests/cluster

$(CLUSTER)/.ready: $(STAMP) $(CLUSTER)/bin/prism $(CLUSTER)/bin/fake-gcs-server $(CLUSTER)/flink/.ready \
                   $(CLUSTER)/flink-job-server/.ready $(CLUSTER)/spark/jars/.ready $(CLUSTER)/worker/.ready $(CLUSTER)/.driver
	@touch $@

$(CLUSTER)/bin/prism:
	GOBIN=$(abspath $(CLUSTER)/bin) go install github.com/apache/beam/sdks/v2/go/cmd/prism@$(BEAM_GO)

$(CLUSTER)/bin/fake-gcs-server:
	GOBIN=$(abspath $(CLUSTER)/bin) go install github.com/fsouza/fake-gcs-server@v1.56.1

$(CLUSTER)/flink/.ready: $(STAMP)
	rm -rf $(CLUSTER)/flink && mkdir -p $(CLUSTER)/flink
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: \
	  --dest $(CLUSTER)/flink apache-flink-libraries==$(FLINK)
	tar -xzf $(CLUSTER)/flink/*.tar.gz -C $(CLUSTER)/flink --strip-components 2 --wildcards '*/deps/lib'
	rm $(CLUSTER)/flink/*.tar.gz
	@touch $@

# Beam's job servers; the one for Spark includes Spark itself.
$(CLUSTER)/flink-job-server/.ready: tests/cluster/flink_job_server.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))
	@touch $@

$(CLUSTER)/spark/jars/.ready: tests/cluster/spark_job_server.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))
	@touch $@

$(CLUSTER)/worker/.ready: setup.cfg worker-requirements.txt $(wildcard pipeline/*.py pipeline/*/*.py)
	$(PYTHON) -m venv $(CLUSTER)/worker
	$(CLUSTER)/worker/bin/pip install --quiet --disable-pip-version-check -r worker-requirements.txt
	rm -rf $(CLUSTER)/wheel
	$(CLUSTER)/worker/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(CLUSTER)/wheel .
	$(CLUSTER)/worker/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(CLUSTER)/wheel/*.whl
	@touch $@

$(CLUSTER)/.driver: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,gcp]'
	@mkdir -p $(CLUSTER) && touch $@

docs: $(STAMP) ## build the documentation as a site in build/docs, and check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/docs

lint: $(STAMP) ## check style and layout (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove what was built here, and the environment
	rm -rf build $(CLUSTER) $(VENV) $(VENV)-torch $(VENV)-bench $(VENV)-gpu *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache
