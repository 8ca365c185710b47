#!/bin/sh
# Makes .venv with Abbe in it (editable), and the system libraries it loads. Quick and harmless when run again.
#
#   scripts/setup.sh base    what Abbe needs to run
#   scripts/setup.sh test    base, the tools of `make test` and `make check`, a browser and Chinese fonts
#
# PYTHON=python3.12 chooses the interpreter; without it the first of python3, python3.14 ... python3.11 that is new
# enough. uv is used where it is installed, pip otherwise.
set -eu

level=${1-}
case $level in
    base) extra="" ;;
    test) extra="[dev]" ;;
    *)
        printf 'usage: %s base|test\n' "$0" >&2
        exit 2
        ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv="$root/.venv"

say() { printf '%s\n' "$*" >&2; }

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON-}" ]; then
        if ! is_new_enough "$PYTHON"; then
            say "PYTHON=$PYTHON is not a Python 3.11 or newer."
            return 1
        fi
        printf '%s\n' "$PYTHON"
        return 0
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 && is_new_enough "$name"; then
            command -v "$name"
            return 0
        fi
    done
    say "Abbe needs Python 3.11 or newer, and none was found. On Debian 12: apt-get install python3.11"
    return 1
}

# A folder that was copied or moved, or whose Python has been removed, is no environment of this folder any more.
venv_works() {
    [ -x "$venv/bin/python" ] || return 1
    "$venv/bin/python" -c '
import os, sys
sys.exit(sys.version_info < (3, 11) or os.path.realpath(sys.prefix) != os.path.realpath(sys.argv[1]))
' "$venv" >/dev/null 2>&1 || return 1
    [ -n "$uv" ] || "$venv/bin/python" -c 'import pip' >/dev/null 2>&1
}

# The fingerprint of everything that decides what is installed.
fingerprint() {
    {
        printf '%s\n' "$root"
        cat pyproject.toml metrology_core/_version.py
        "$venv/bin/python" -VV
    } | cksum | tr -s ' \t' '-'
}

is_set_up() {
    [ -f "$venv/.abbe-$1" ] && [ "$(cat "$venv/.abbe-$1")" = "$(fingerprint)" ]
}

uv=$(command -v uv || true)

if venv_works; then
    sh scripts/system_packages.sh install "$level"
else
    python=$(find_python)
    if [ -n "$uv" ]; then
        sh scripts/system_packages.sh install "$level"
    else
        sh scripts/system_packages.sh install "$level" "$python"
    fi
    if [ -e "$venv" ]; then
        say "Replacing .venv, which is incomplete or belongs to another place."
        rm -rf "$venv"
    fi
    say "Making .venv with $("$python" -V 2>&1)"
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --python "$python" "$venv"
    else
        "$python" -m venv "$venv"
    fi
fi

if is_set_up "$level" || is_set_up test; then
    exit 0
fi

say "Installing Abbe and what it needs into .venv (once; some hundred megabytes, a minute or two)."
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --editable ".$extra" >&2
else
    # --progress-bar off and --quiet: one line above says what happens; errors still come out.
    "$venv/bin/python" -m pip install --quiet --progress-bar off --no-input --disable-pip-version-check \
        --editable ".$extra" >&2
fi
say "Compiling the kernels for this machine (once, about a minute)."
"$venv/bin/python" scripts/compile_kernels.py || say "The kernels will compile when they are first used."
fingerprint >"$venv/.abbe-$level"
