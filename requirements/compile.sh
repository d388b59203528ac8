#!/usr/bin/env bash
# Pins what pyproject.toml allows, with hashes, for each way to install. Run it after a change of the dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    local output=requirements/$1.txt
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links "$@" pyproject.toml --output-file "$output"
}
compile production
compile embedded --extra embedded
compile development --extra embedded --extra development
