#!/bin/sh
# Checks the style and runs the tests. Arguments go to pytest: sh scripts/run_tests.sh -k loss
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
choose_python
run_packages
test_packages

echo "== Style"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
echo "== Tests"
if [ -z "${HASHNET_TEST_DATA:-}" ]; then
    echo "HASHNET_TEST_DATA is not set: tests on real data will be skipped"
fi
# A file of tests at a time on each core, with one thread for each: most tests run commands.
"$PYTHON" -m pytest --numprocesses auto --dist loadfile "$@"
