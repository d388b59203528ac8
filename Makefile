# Each target calls one command. Variables such as PORT in `make run PORT=8001` reach it as environment variables.

PYTHON := .venv/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --disable-pip-version-check --no-input --require-hashes --requirement
TEST_PROCESSES ?= 3
COVERAGE_SETTINGS := COMMANDS_COVERAGE_DIR=$(CURDIR)/.cache/coverage

CHECKS := lint format types imports size migrations deploy schema production

# The checks use no server, but the settings require the addresses of servers.
CHECK_SETTINGS := SECRET_KEY=for-checks-only-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJ \
	DATABASE_URL=postgresql://nobody@127.0.0.1:1/none REDIS_URL=redis://127.0.0.1:1/0 DATABASE_POOL_SIZE=0

.PHONY: help run test coverage bench check lint-schema $(CHECKS:%=check-%) FORCE
.DEFAULT_GOAL := help

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-26s %s\n", $$1, $$2}'
	@echo
	@echo "  You need Python 3.11 or newer with its venv module. The first run installs everything else into .venv."

run: .venv/embedded.installed ## runs the whole platform on http://127.0.0.1:8000/ (PORT=8001 for another port)
	@exec env COMMANDS_EMBEDDED=true $(PYTHON) manage.py up

test: .venv/development.installed ## runs the tests (ARGS="tests/scheduling -k pause" for some, TEST_PROCESSES=8)
ifeq ($(COVERAGE),)
	@exec $(PYTHON) -m pytest -n $(TEST_PROCESSES) $(ARGS)
else
# Measures every Python process of the tests from its start. pytest-cov would miss imports before its own start.
	@rm -rf .cache/coverage && mkdir -p .cache/coverage
	@$(COVERAGE_SETTINGS) COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(PYTHON) -m pytest -n $(TEST_PROCESSES) $(ARGS)
	@$(COVERAGE_SETTINGS) $(PYTHON) -m coverage combine --quiet
	@$(COVERAGE_SETTINGS) $(PYTHON) -m coverage json --quiet -o .cache/coverage/report.json
	@$(PYTHON) -m tests.coverage_floor .cache/coverage/report.json
endif

coverage: ## runs all tests, and fails if branch coverage of a package is below 90 %
	@$(MAKE) test COVERAGE=yes

bench: .venv/embedded.installed ## runs a benchmark (ARGS="burst", ARGS="--help" for their names)
	@exec $(PYTHON) -m benchmarks $(ARGS)

check: $(CHECKS:%=check-%) ## runs every check- target below

$(CHECKS:%=check-%): .venv/development.installed

check-lint: ## finds mistakes and style errors (ruff)
	.venv/bin/ruff check

check-format: ## checks the formatting (.venv/bin/ruff format corrects it)
	.venv/bin/ruff format --check

check-types: ## checks the types (mypy)
	@$(CHECK_SETTINGS) .venv/bin/mypy

check-imports: ## checks that each layer imports only from lower ones (import-linter)
	@$(CHECK_SETTINGS) .venv/bin/lint-imports

check-size: ## finds files of more than 400 lines
	@$(PYTHON) -m tests.file_sizes

check-migrations: ## finds model changes without a migration
	@$(CHECK_SETTINGS) $(PYTHON) -W "ignore:Got an error checking" manage.py makemigrations --check --dry-run

check-deploy: ## runs Django's checks of production settings
	@$(CHECK_SETTINGS) $(PYTHON) manage.py check --deploy --fail-level WARNING

check-schema: .cache/schema.json ## validates the OpenAPI schema
	.venv/bin/openapi-spec-validator $<

# The linters need Node.js and the npm registry.
lint-schema: .cache/schema.json ## lints the OpenAPI schema, if npx can get the linters
	@if npx --yes @redocly/cli@2 --version >/dev/null 2>&1; then \
		npx --yes @redocly/cli@2 lint $< && \
		npx --yes @stoplight/spectral-cli@6 lint $< --ruleset .spectral.yaml --fail-severity error; \
	else \
		echo "SKIPPED: the schema was not linted, because npx cannot get @redocly/cli here."; \
	fi

.cache/schema.json: FORCE
	@mkdir -p $(@D)
	@$(CHECK_SETTINGS) $(PYTHON) manage.py spectacular --validate --fail-on-warn --format openapi-json --file $@

check-production: ## compares Dockerfile, docker-compose.yml and .env.example with the code
	@$(PYTHON) -m tests.production_files

.venv/%.installed: requirements/%.txt
	@$(FIND_OR_MAKE_VENV)
	@echo "Installing $< into .venv (a minute or two, the first time)"
	@$(PIP_INSTALL) $<
	@touch $@

# An installed Python may be a shim without a real version, may lack venv, or may be too old. Only a try tells.
define FIND_OR_MAKE_VENV
if $(PYTHON) -c "import sys, pip; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then exit 0; fi; \
for python in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	if $$python -c "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then \
		echo "Making .venv with $$($$python --version)"; \
		exec $$python -m venv --clear .venv; \
	fi; \
done; \
echo "Python 3.11 or newer, with its venv module, was not found. On Debian and Ubuntu: apt install python3-venv" >&2; \
exit 1
endef

# Makes .venv again if its Python has been removed or upgraded.
ifneq ($(shell $(PYTHON) -c "print(1)" 2>/dev/null),1)
.venv/embedded.installed .venv/development.installed: FORCE
endif
