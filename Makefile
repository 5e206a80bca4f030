# Two commands for newcomers: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

PEERS := .peers

.PHONY: demo test faults peers storm lint types bench lock clean

demo: $(VENV)/run.stamp
	$(BIN)/image-gateway demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --ignore=tests/peers

# Slower: real gateways of others (LiteLLM from PyPI, Portkey from npm) behind this one. Needs node 18 or later.
peers: $(VENV)/dev.stamp $(PEERS)/stamp
	$(BIN)/python -m pytest tests/peers

# The fault table alone: what the gateway makes of every way in which an upstream can fail (docs/faults.md).
faults: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/faults

# Slower: this gateway and others through the same outages, in virtual time (docs/storm.md).
storm: $(VENV)/dev.stamp $(PEERS)/litellm.stamp $(PEERS)/pydantic-ai.stamp
	$(BIN)/python -m benchmarks.storm --json benchmarks/storm/figures.json --docs docs/storm.md

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/run.stamp

$(PEERS)/litellm.stamp: requirements/peers.txt
	$(PYTHON) -m venv $(PEERS)/litellm
	$(PEERS)/litellm/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	touch $@

$(PEERS)/pydantic-ai.stamp: requirements/contenders.txt
	$(PYTHON) -m venv $(PEERS)/pydantic-ai
	$(PEERS)/pydantic-ai/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/contenders.txt
	touch $@

$(PEERS)/stamp: $(PEERS)/litellm.stamp tests/peers/package-lock.json
	mkdir -p $(PEERS)/portkey
	cp tests/peers/package.json tests/peers/package-lock.json $(PEERS)/portkey/
	cd $(PEERS)/portkey && npm ci --silent --no-audit --no-fund
	touch $@

# Newer versions of everything: run it where uv is installed, then run the tests.
lock:
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --group build -o requirements/run.txt pyproject.toml
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --group build --group dev -o requirements/dev.txt pyproject.toml
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header -o requirements/peers.txt requirements/peers.in
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header -o requirements/contenders.txt requirements/contenders.in

clean:
	rm -rf $(VENV) $(PEERS)
