# Sourced by the other scripts: sets PYTHON to an interpreter that has what is needed, and installs
# what is missing. A second call finds everything in place and costs nothing.
#
# A Python that already has Paddle ($PYTHON, else python3) is used as it is; what else is missing is
# added to it. Otherwise .venv is made, with paddlepaddle-gpu where a GPU answers.
#
# With VENV=FOLDER an environment in that folder is used, and made where it is not there, whatever
# $PYTHON has. With PADDLE=VERSION what is installed there is that version, for CPUs.

RUN_MODULES="paddle numpy PIL tqdm yaml"
TEST_MODULES="pytest pytest_timeout xdist hypothesis ruff matplotlib"

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
    if [ -z "${VENV:-}" ] && has paddle; then
        echo "== Using $(command -v "$PYTHON"), which has Paddle"
        return
    fi
    folder=${VENV:-.venv}
    if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        echo "== Making a virtual environment in $folder"
        "$PYTHON" -m venv --clear "$folder" || exit 1
    fi
    PYTHON=$folder/bin/python
}

run_packages() {
    has $RUN_MODULES && return
    besides_paddle=$(grep -v -e '^#' -e '^paddlepaddle' requirements-cpu.txt)
    if has paddle; then
        install $besides_paddle
    elif [ -n "${PADDLE:-}" ]; then
        install "paddlepaddle==$PADDLE" setuptools $besides_paddle  # 2.6.2 imports setuptools
    elif gpu_answers; then
        install -r requirements.txt
    else
        install -r requirements-cpu.txt
    fi
}

test_packages() {
    has $TEST_MODULES || install -r requirements-dev.txt
}
