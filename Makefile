# The commands of this checkout. `make help` lists them; CI calls the same ones.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Nothing of the caller's environment chooses what runs here.
export LC_ALL := C.UTF-8
# Ansible leaves it to the system when its output is written: without a terminal, progress would come at the end.
export PYTHONUNBUFFERED := 1
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME ?= $(HOME)/.ansible
unexport ANSIBLE_COLLECTIONS_PATH ANSIBLE_INVENTORY ANSIBLE_STDOUT_CALLBACK MAKELEVEL PYTHONHOME PYTHONPATH VIRTUAL_ENV
# Packages are compiled when they are first imported, and by every process anew where nothing may be kept.
unexport PYTHONDONTWRITEBYTECODE PYTHONOPTIMIZE PYTHONPYCACHEPREFIX

# Only used to make the virtual environment: 3.11 is what TensorFlow's and Ansible's pins agree on. A distribution's is
# optimised by profile, and one that a version manager compiles is not by default: a tenth slower here. So it comes first,
# unless it lacks the package that makes environments.
PYTHON ?= $(firstword $(shell for each in /usr/bin/python3.11 python3.11 python3; do \
	"$$each" -c 'import ensurepip' 2>/dev/null && command -v "$$each"; done) python3)
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

# A stamp is named by what it stands for, not by its time, which a fresh clone and a copied one both change. The checkout's
# own path belongs to it because the scripts in an environment carry that path.
digest = $(shell { echo "$(CURDIR)"; cat /dev/null $(1); } | sha256sum | cut -c 1-16)
RUN_PINS := requirements.txt
DEV_PINS := requirements.txt trainer/requirements.txt requirements-dev.txt
EMPTY := $(VENV)/.empty-$(call digest)
RUN := $(VENV)/.run-$(call digest,$(RUN_PINS))
DEV := $(VENV)/.dev-$(call digest,$(DEV_PINS))

# Every pin is written down, so pip resolves nothing; `pip check` proves that none is missing. Python compiles what is
# imported when it is: most of it never is.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
INSTALL := $(PIP) install --no-deps --no-compile

JUNIT := build/junit
PYTEST := $(BIN)/python -m pytest
INTEGRATION := $(patsubst tests/integration/%/,integration-%,$(sort $(dir $(wildcard tests/integration/*/test_*.py))))
# The longest first, so that none of them is left alone at the end.
LONGEST := integration-kubernetes integration-molecule integration-playbooks

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(RUN) ## train MNIST here with 1 and 2 workers, and compare them
	$(BIN)/ansible-playbook site.yml
	$(BIN)/ansible-playbook benchmark.yml -e workers=1,2

.PHONY: lab
lab: $(RUN) ## hosts in Docker to try a cluster on: three, or HOSTS=5; inventories/lab reaches them
	@$(BIN)/python tools/lab.py up $(addprefix --hosts ,$(HOSTS))

.PHONY: lab-down
lab-down: $(RUN) ## remove the lab and all it left on this machine
	@$(BIN)/python tools/lab.py down

# Tests wait more than they compute: two suites at a time take little more than half the time of one after the other.
JOBS ?= 2

.PHONY: test
test: $(DEV) ## lint, unit, sanity, install-check and integration, JOBS at a time, then one line with the sum
	@rm -rf $(JUNIT); status=0; \
	$(MAKE) --keep-going --jobs=$(JOBS) --output-sync=target test-bundle lint unit sanity install-check integration || status=$$?; \
	$(BIN)/python tools/test_summary.py $(JUNIT) || status=$$?; exit $$status

.PHONY: lint
lint: lint-python lint-types lint-yaml lint-ansible lint-changelog lint-docs ## every check that runs nothing, offline

.PHONY: lint-python lint-types lint-yaml lint-ansible lint-changelog lint-docs
lint-python: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lint-types: $(DEV)
	$(BIN)/mypy

lint-yaml: $(DEV)
	$(BIN)/yamllint --strict .

lint-ansible: $(DEV)
	$(BIN)/ansible-lint

lint-changelog: $(DEV)
	$(BIN)/antsibull-changelog lint

lint-docs: $(DEV)
	$(BIN)/python tools/docs.py --check

.PHONY: unit
unit: $(DEV) ## unit tests of the collection, the trainer and the house
	@# There is a process for each core; algebra in threads of its own would only wait for another's.
	OPENBLAS_NUM_THREADS=1 $(PYTEST) tests/unit --numprocesses=auto --junit-xml=$(JUNIT)/unit.xml

.PHONY: sanity
sanity: $(DEV) ## ansible-test sanity and antsibull-docs on the built artifact
	$(BIN)/python tools/sanity.py

.PHONY: integration
integration: $(LONGEST) $(filter-out $(LONGEST),$(INTEGRATION)) ## tests with real processes; integration-NAME runs one folder of tests/integration

integration-%: $(DEV)
	$(PYTEST) tests/integration/$* --junit-xml=$(JUNIT)/$@.xml

integration-bundle_fetch integration-cluster integration-image integration-kind integration-kubernetes integration-molecule integration-preflight integration-registry: test-bundle

.PHONY: bench
bench: $(DEV) ## measure the trainer's profiles against each other; see docs/performance.md
	$(BIN)/python tools/bench.py

.PHONY: docs
docs: $(DEV) ## write docs/reference and the tables in the roles' READMEs anew
	$(BIN)/python tools/docs.py

.PHONY: changelog
changelog: $(DEV) ## write CHANGELOG.rst from changelogs/ for the version in galaxy.yml
	$(BIN)/antsibull-changelog release --update-existing --reload-plugins

.PHONY: build
build: $(RUN) ## build the collection's artifact in build/
	@mkdir -p build
	$(BIN)/ansible-galaxy collection build --force --output-path build

.PHONY: bundle
bundle: $(DEV) ## fill build/bundle with a cluster's programs and images, compiled from Go modules (PARTS=... for some)
	$(BIN)/python tools/bundle.py build $(PARTS)

# What the tests put on hosts; a part that is built already costs nothing.
TEST_PARTS := kubernetes etcd coredns pause cri-tools cni-plugins busybox flannel containerd runc registry python helm gpu-stand-in kind kind-node
.PHONY: test-bundle
test-bundle: $(DEV)
	$(BIN)/python tools/bundle.py build $(TEST_PARTS)

.PHONY: molecule
molecule: test-bundle ## every scenario of molecule: clusters made, looked at, changed and taken back
	$(BIN)/molecule test --all

.PHONY: bench-cluster
bench-cluster: test-bundle ## measure the cluster's playbook against kubeadm by hand, and with 1, 3, 6 and 9 hosts
	$(BIN)/python tools/bench_cluster.py

.PHONY: bench-kubernetes
bench-kubernetes: $(DEV) ## measure a training of pods against kubectl and processes (INVENTORY=inventories/lab)
	$(BIN)/python tools/bench_kubernetes.py $(or $(INVENTORY),inventories/lab)

.PHONY: install-check
install-check: $(RUN) ## build the artifact, install it in an empty place and use it from there
	$(BIN)/python tools/install_check.py

.PHONY: pins
pins: $(RUN) ## choose every pinned version anew from the requirements*.in files
	$(BIN)/python tools/pins.py

.PHONY: clean
clean: ## remove the virtual environment, caches and builds; results/ and the data set stay
	rm -rf $(VENV) build .ansible .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(EMPTY):
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 11) or sys.exit(f"Python 3.11 is needed, $(PYTHON) is {v}: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUN): | $(EMPTY)
	@echo "Installing $(RUN_PINS)"
	@$(INSTALL) --requirement requirements.txt
	@rm -f $(VENV)/.run-*; touch $@

$(DEV): | $(RUN)
	@echo "Installing requirements-dev.txt"
	@$(INSTALL) $(addprefix --requirement ,$(DEV_PINS))
	@$(PIP) check
	@rm -f $(VENV)/.dev-*; touch $@
