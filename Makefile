# Needs Python 3.11 or newer; PYTHON=python3.12 chooses one. ARGS are handed on: make test ARGS="-k upsert".
PYTHON ?= python3
BOOTSTRAP = $(PYTHON) bootstrap.py

.PHONY: help demo run test check bench lock clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## the whole system with bundled data and a stand-in for Amazon; Ctrl-C stops it
	@exec $(BOOTSTRAP) demo $(ARGS)

run:  ## the whole system for real work; Ctrl-C stops it
	@exec $(BOOTSTRAP) up $(ARGS)

test:  ## the test suite on real services
	@exec $(BOOTSTRAP) test $(ARGS)

check:  ## format, lint, types, import contracts, migrations, deployment, OpenAPI
	@exec $(BOOTSTRAP) check

bench:  ## the benchmarks, each as a ratio
	@exec $(BOOTSTRAP) bench $(ARGS)

lock:  ## rewrite the locks from requirements*.txt
	@exec $(BOOTSTRAP) lock

clean:  ## remove .venv and caches; data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
