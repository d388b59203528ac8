# Thin: each target calls one command. `make run PORT=8001` and its like reach the command as environment variables.

PYTHON := .venv/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --disable-pip-version-check --no-input --require-hashes --requirement
TEST_PROCESSES ?= 3

# Every check is a target of its own too: `make check-types`.
CHECKS := lint format types imports migrations deploy schema production

# No server is asked while checking, but settings insist on knowing one.
CHECK_SETTINGS := SECRET_KEY=for-checks-only-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJ \
	DATABASE_URL=postgresql://nobody@127.0.0.1:1/none REDIS_URL=redis://127.0.0.1:1/0 DATABASE_POOL_SIZE=0

.PHONY: run test bench check lint-schema $(CHECKS:%=check-%) FORCE

run: .venv/embedded.installed
	@exec env COMMANDS_EMBEDDED=true $(PYTHON) manage.py up

test: .venv/development.installed
	@exec $(PYTHON) -m pytest -n $(TEST_PROCESSES) $(ARGS)

bench: .venv/embedded.installed
	@exec $(PYTHON) -m benchmarks $(ARGS)

check: $(CHECKS:%=check-%)

$(CHECKS:%=check-%): .venv/development.installed

check-lint:
	.venv/bin/ruff check

check-format:
	.venv/bin/ruff format --check

check-types:
	@$(CHECK_SETTINGS) .venv/bin/mypy

check-imports:
	@$(CHECK_SETTINGS) .venv/bin/lint-imports

check-migrations:
	@$(CHECK_SETTINGS) $(PYTHON) -W "ignore:Got an error checking" manage.py makemigrations --check --dry-run

check-deploy:
	@$(CHECK_SETTINGS) $(PYTHON) manage.py check --deploy --fail-level WARNING

check-schema: .cache/schema.json
	.venv/bin/openapi-spec-validator $<

# Two linters of OpenAPI, which need Node.js and the npm registry.
lint-schema: .cache/schema.json
	@if npx --yes @redocly/cli@2 --version >/dev/null 2>&1; then \
		npx --yes @redocly/cli@2 lint $< && \
		npx --yes @stoplight/spectral-cli@6 lint $< --ruleset .spectral.yaml --fail-severity error; \
	else \
		echo "SKIPPED: the schema was not linted, because npx cannot get @redocly/cli here."; \
	fi

.cache/schema.json: FORCE
	@mkdir -p $(@D)
	@$(CHECK_SETTINGS) $(PYTHON) manage.py spectacular --validate --fail-on-warn --format openapi-json --file $@

check-production:
	@$(PYTHON) -m tests.production_files

.venv/%.installed: requirements/%.txt
	@$(FIND_OR_MAKE_VENV)
	@echo "Installing $< into .venv (a minute or two, the first time)"
	@$(PIP_INSTALL) $<
	@touch $@

# A Python that can run may still be a shim without a version behind it, or lack venv, or be too old: only trying tells.
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

# A .venv whose Python has been removed or upgraded is made again.
ifneq ($(shell $(PYTHON) -c "print(1)" 2>/dev/null),1)
.venv/embedded.installed .venv/development.installed: FORCE
endif
