# Everything a person types here. Only what is missing is installed; the second run of a target starts at once.

# On a clock that a person waits for, say what is going on.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

DURATION ?= 30
KEEP ?=
TESTS ?=
KERNELS ?=

SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
PYTHON := .venv/bin/python
PIP = $(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile
# On all cores at once and without the tests that packages ship: half of what pip takes for it. Done here, since what root
# compiles later in the user's .venv, the user could not remove.
COMPILE = $(PYTHON) -m compileall -qq -j 0 -x '/tests/' .venv/lib
JARS := .cache/kafka/jars
PYTEST = $(PYTHON) -m pytest
# As root the tests keep their cache apart: what root wrote, the user could not overwrite. Two lanes, since most of the
# suite waits (tests/lanes.py); LANES=0 is one after another.
PYTEST_AS_ROOT = $(SUDO) $(PYTEST) -o cache_dir=.cache/pytest-root
LANES ?= 2

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-18s %s\n", $$1, $$2 }'

# --- what a person runs -----------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## a small cluster on this machine, its traffic as rows (DURATION=30 seconds; KEEP=1 leaves it running)
	@$(SUDO) .venv/bin/kubenetinsight demo --duration $(DURATION) $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: up
up: setup ## watch this machine's own interfaces (ARGS='--interface eth0=tc')
	@$(SUDO) .venv/bin/kubenetinsight up $(ARGS)

.PHONY: bench
bench: setup-dev kafka-jars ## every goal in numbers, beside what was measured (ARGS='NAME...')
	@$(SUDO) $(PYTHON) -m benchmarks $(ARGS)

# --- tests ------------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup-dev kafka-jars ## every test: unit, kernel, integration, end-to-end (root or sudo)
	@$(PYTEST_AS_ROOT) --numprocesses $(LANES) --durations 10 tests/integration tests/e2e tests/kernel tests/unit $(TESTS)

.PHONY: test-unit
test-unit: setup-dev ## no root, seconds (TESTS='-k name' for some)
	@$(PYTEST) tests/unit $(TESTS)

.PHONY: test-kernel
test-kernel: setup-dev ## the programs in the running kernel
	@$(PYTEST_AS_ROOT) tests/kernel $(TESTS)

.PHONY: test-integration
test-integration: setup-dev kafka-jars ## real servers: embedded and Apache Kafka, ClickHouse's engine
	@$(PYTEST_AS_ROOT) tests/integration $(TESTS)

.PHONY: test-e2e
test-e2e: setup-dev kafka-jars ## the lab, from packet to row
	@$(PYTEST_AS_ROOT) tests/e2e $(TESTS)

.PHONY: test-kernels
test-kernels: setup-dev ## test-kernel on other versions of Linux, in virtual machines (KERNELS='6.1 6.12'; TESTS)
	@tools/install-debian tools/debian-kernels.txt
	@$(SUDO) $(PYTHON) -m tests.kernels $(KERNELS) -- tests/kernel $(TESTS)

# --- checks -----------------------------------------------------------------------------------------------------------

CHECKS = layout rules types imports c-layout c-headers shell spelling manifests coverage
.PHONY: check $(CHECKS:%=check-%)
check: $(CHECKS:%=check-%) ## every linter (one of them: make check-types, ...)
$(CHECKS:%=check-%): | setup-dev

check-layout:
	@echo "check: Python layout (ruff format)"; .venv/bin/ruff format --check --quiet --diff .

check-rules:
	@echo "check: Python rules (ruff check)"; .venv/bin/ruff check --quiet .

check-types:
	@echo "check: types (mypy; a minute the first time)"; .venv/bin/mypy --no-error-summary

check-imports:
	@echo "check: which part may import which (import-linter)"; mkdir -p .cache; \
	  .venv/bin/lint-imports --no-cache >.cache/lint-imports.log || { cat .cache/lint-imports.log; exit 1; }

check-c-layout:
	@echo "check: C layout (clang-format)"; clang-format --dry-run -Werror bpf/*.c bpf/*.h

# Each header on its own: what it needs it includes, but for what BCC and the loader put before every program.
check-c-headers:
	@echo "check: C headers (clang)"; for header in bpf/*.h; do clang -x c -std=gnu11 -fsyntax-only -Wall -Werror -Wno-unused-function \
	  $$(grep -ohE 'KNI_[A-Z0-9_]+_OFFSET' bpf/*.h | sort -u | sed 's/.*/-D&=0/') \
	  -I bpf -I bpf/kernel/include -include linux/types.h -include tools/bcc.h "$$header"; done

check-shell:
	@echo "check: shell scripts (shellcheck)"; shellcheck .ci/run tools/install-debian k8s/clickhouse/reader.sh tests/kernels/init

check-spelling:
	@echo "check: spelling (codespell)"; git ls-files -z | xargs -0 .venv/bin/codespell --toml pyproject.toml

check-manifests:
	@echo "check: manifests (kubernetes-validate)"; find k8s/base k8s/overlays -name '*.yaml' ! -name kustomization.yaml -print0 \
	  | xargs -0 .venv/bin/kubernetes-validate --strict --quiet

check-coverage:
	@echo "check: every branch of the pure modules (coverage; ten seconds)"; mkdir -p .cache; \
	  .venv/bin/coverage run -m pytest --quiet -o cache_dir=.cache/pytest-coverage tests/unit >.cache/unit-tests.log 2>&1 \
	  || { tail -n 40 .cache/unit-tests.log; exit 1; }
	@.venv/bin/coverage report >.cache/branches.txt || { cat .cache/branches.txt; exit 1; }

# --- set-up -----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: debian-demo .venv/.standalone .venv/.project ## what the demo needs: Debian packages, .venv
.PHONY: setup-dev
setup-dev: debian-test .venv/.dev .venv/.project ## what tests and checks need as well

.PHONY: debian-demo
debian-demo:
	@tools/install-debian tools/debian-demo.txt

.PHONY: debian-test
debian-test:
	@tools/install-debian tools/debian-demo.txt tools/debian-test.txt

# BCC is Debian's, seen only by Debian's Python with its site packages.
$(PYTHON): | debian-demo
	@/usr/bin/python3 -m venv --system-site-packages .venv

.venv/.standalone: requirements.lock | $(PYTHON)
	@echo "Python packages: installing requirements.lock into .venv ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(COMPILE)
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.standalone
	@echo "Python packages: installing requirements-dev.lock into .venv ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(COMPILE)
	@touch $@

# Editable, by a path entry: what is in the tree is what runs.
.venv/.project: pyproject.toml .venv/.standalone
	@mkdir -p .cache
	@$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat -e . >.cache/install.log 2>&1 || { cat .cache/install.log; exit 1; }
	@touch $@

.PHONY: kafka-jars
kafka-jars: $(JARS)/.complete ## Apache Kafka's jars, for the tests (Maven)
$(JARS)/.complete: tests/integration/kafka/pom.xml | debian-test
	@echo "Apache Kafka: fetching its jars (20 s) ..."
	@mkdir -p $(JARS)
	@mvn --quiet --batch-mode -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(JARS) >.cache/install.log 2>&1 \
	  || { cat .cache/install.log; exit 1; }
	@touch $@

.PHONY: secrets
secrets: ## passwords for docker-compose.yml and minikube, made once, in secrets/
	@mkdir -p -m 700 secrets
	@for name in clickhouse-writer clickhouse-reader grafana-admin; do [ -s secrets/$$name ] \
	  || { head -c 24 /dev/urandom | base64 --wrap=0 | tr '+/' '-_' >secrets/$$name; chmod 444 secrets/$$name; }; done

LOCK = .venv/bin/pip-compile --quiet --generate-hashes --strip-extras --unsafe-package kubenetinsight \
  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header
.PHONY: lock
# The warning that is cut off names the project itself, whose extras refer to each other.
lock: setup-dev ## write the lock files anew from pyproject.toml (minutes)
	@echo "lock: requirements.lock ..."
	@$(LOCK) --all-build-deps --extra standalone --output-file requirements.lock pyproject.toml
	@for part in collector aggregator dev; do echo "lock: requirements-$$part.lock ..."; \
	  $(LOCK) --constraint requirements.lock $$([ $$part = dev ] || echo --all-build-deps) --extra $$part \
	    --output-file requirements-$$part.lock pyproject.toml; done
	@sed -i '/^# WARNING: The following packages were not pinned/,$$d' requirements*.lock

.PHONY: clean
clean: ## remove .venv, caches and what was built
	@$(SUDO) rm -rf .venv .cache build dist kubenetinsight.egg-info
	@find . -name __pycache__ -type d -prune -exec $(SUDO) rm -rf {} +
