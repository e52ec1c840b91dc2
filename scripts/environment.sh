# Sourced by the other scripts: sets PYTHON to an interpreter that has what is needed, and installs
# what is missing. A second call finds everything in place and costs nothing.
#
# A Python that already has Paddle ($PYTHON, else python3) is used as it is; what else is missing is
# added to it. Otherwise .venv is made, with paddlepaddle-gpu where a GPU answers, which is proved
# once, by scripts/check_gpu.py. Where that fails, a line says why and the CPU packages are used;
# it is tried again once the folder is removed.
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

has_gpu_paddle() {
    "$PYTHON" -c 'from importlib.metadata import version
version("paddlepaddle-gpu")' 2>/dev/null
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

# gpu_folder: the folder of Paddle's index that fits the driver and the newest GPU, or nothing.
# CUDA 11.8 needs a driver from 450 on and has no kernels for compute capability 9 (Hopper). For its
# CUDA 12.6 Paddle asks for 550 (NVIDIA for 525, so Hopper may try); 10 and more (Blackwell) need
# 12.9. What is older than 7.5 (Turing) Paddle's own table gives to CUDA 11.
gpu_folder() {
    query="nvidia-smi --format=csv,noheader --query-gpu=driver_version"
    # Old drivers do not know compute_cap.
    { $query,compute_cap || $query; } 2>/dev/null | LC_ALL=C awk -F ', *' '
        /^[0-9]/ { driver = $1 + 0; if ($2 + 0 > newest) newest = $2 + 0 }
        END {
            if (newest >= 10) print "cu129"
            else if (newest >= 9 || (newest >= 7.5 && driver >= 550)) print "cu126"
            else if (driver >= 450) print "cu118"
        }'
}

# Installs paddlepaddle-gpu and the rest, and proves it; the status is 1 where that fails.
install_for_gpu() {
    folder=$(gpu_folder)
    if [ -z "$folder" ]; then
        echo "== No Paddle for this GPU: CUDA 11.8 needs a driver from 450 on"
        return 1
    fi
    index=https://www.paddlepaddle.org.cn/packages/stable/$folder/
    paddle=$(grep '^paddlepaddle' requirements.txt)
    echo "== Installing $paddle, which takes gigabytes and minutes, from"
    echo "   $index"
    if ! said=$("$PYTHON" -m pip install --quiet --disable-pip-version-check \
        --extra-index-url "$index" "$paddle" $(besides_paddle) 2>&1); then
        # Then pip says no more than that it found none.
        case $said in *"Retry(total=0"*) said="ERROR: the index does not answer" ;; esac
        echo "== No Paddle for GPUs from $folder: $(last_error)"
    elif ! said=$("$PYTHON" scripts/check_gpu.py 2>&1); then
        echo "== The GPU does not work with $folder: $(last_error)"
        "$PYTHON" -m pip uninstall --quiet --yes paddlepaddle-gpu
    else
        echo "== $said"
        return 0
    fi
    return 1
}

# The last error that $said tells of, shortened; pip writes ERROR.
last_error() {
    error=$(printf '%s\n' "$said" | sed -n -e 's/^ERROR: //p' -e 's/^error: //p' | tail -n 1)
    printf '%.160s\n' "${error:-it ended without a message}"
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

besides_paddle() {
    grep -v -e '^#' -e '^paddlepaddle' requirements-cpu.txt
}

run_packages() {
    if has paddle; then
        if [ -z "${PADDLE:-}" ] && ! has_gpu_paddle && gpu_answers; then
            echo "== A GPU answers, but this Paddle is for CPUs; see requirements.txt"
        fi
        has $RUN_MODULES || install $(besides_paddle)
    elif [ -n "${PADDLE:-}" ]; then
        install "paddlepaddle==$PADDLE" setuptools $(besides_paddle)  # 2.6.2 imports setuptools
    elif ! gpu_answers || ! install_for_gpu; then
        install -r requirements-cpu.txt
    fi
}

test_packages() {
    has $TEST_MODULES || install -r requirements-dev.txt
}
