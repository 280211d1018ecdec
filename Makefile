# `make test` installs into .venv from the lock file and runs every check; `make demo` shows what
# the program does; `make soak` runs the long campaigns.
PYTHON ?= python3
VENV := .venv

.PHONY: test soak demo web site install lock clean

test: install
	scripts/check --all

soak: install
	scripts/check --soak

# Index, search, tag and evaluate a rendered world; the result is mkt-demo/report.html.
demo: install
	$(VENV)/bin/mkt demo

# Build the pages of `mkt serve` from web/ into the package; needs Node 20. The built files are in
# the repository, so that nobody else needs it.
web:
	cd web && npm ci --no-audit --no-fund && npm run build

# Build the documents as a site in site/.
site: install
	$(VENV)/bin/python scripts/site

install: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Resolve the newest versions; needs uv (`pip install uv`).
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --no-emit-index-url \
		--extra cpu --extra heif --extra raw --extra parquet --extra datasets --extra plots --extra postgres --extra map --extra web --extra dev \
		--constraint constraints.txt --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf $(VENV) web/node_modules build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
