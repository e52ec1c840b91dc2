# Sourced by the other scripts: sets PYTHON to an interpreter that has what is needed, and installs
# what is missing. A second call finds everything in place and costs nothing.
#
# A Python that already has Paddle ($PYTHON, else python3) is used as it is; what else is missing is
# added to it. Otherwise .venv is made, with paddlepaddle-gpu where a GPU answers.

RUN_MODULES="paddle numpy PIL tqdm yaml"
TEST_MODULES="pytest pytest_timeout hypothesis ruff matplotlib"

# has MODULE...: whether $PYTHON finds all of them.
has() {
    "$PYTHON" -c 'import importlib.util, sys
sys.exit(not all(importlib.util.find_spec(name) for name in sys.argv[1:]))' "$@"
}

gpu_answers() {
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1
}

install() {
    echo "== Installing: $*"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@" || {
        echo "error: the packages could not be installed; pip's message above says why" >&2
        exit 1
    }
}

choose_python() {
    PYTHON=${PYTHON:-python3}
    command -v "$PYTHON" >/dev/null 2>&1 || {
        echo "error: $PYTHON not found; Python 3.9 to 3.13 is needed" >&2
        exit 1
    }
    if has paddle; then
        echo "== Using $(command -v "$PYTHON"), which has Paddle"
        return
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        echo "== Making a virtual environment in .venv"
        "$PYTHON" -m venv --clear .venv || exit 1
    fi
    PYTHON=.venv/bin/python
}

run_packages() {
    has $RUN_MODULES && return
    if has paddle; then
        install $(grep -v -e '^#' -e '^paddlepaddle' requirements-cpu.txt)
    elif gpu_answers; then
        install -r requirements.txt
    else
        install -r requirements-cpu.txt
    fi
}

test_packages() {
    has $TEST_MODULES || install -r requirements-dev.txt
}
