#!/bin/sh
# Make .venv with Trailhound in it, for `make`.
# usage: environment.sh PYTHON REQUIREMENT     PYTHON may be empty: then one is looked for
set -eu

VENV=.venv
OLDEST='import sys; sys.exit(sys.version_info < (3, 11))'

fail() {
    printf '\n' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

usable() {
    # Names in PATH may be stand-ins (pyenv) for what is not installed, so each one is run.
    "$1" -c "$OLDEST" >/dev/null 2>&1
}

find_python() {
    if [ -n "$1" ]; then
        usable "$1" || fail "$1 is not a Python that runs, or older than 3.11."
        echo "$1"
        return
    fi
    for name in python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do
        if usable "$name"; then
            echo "$name"
            return
        fi
    done
    fail "Trailhound needs Python 3.11 or later, and none was found." \
        "Debian 12, Ubuntu 24.04 and later:  sudo apt-get install python3 python3-venv" \
        "Another place:                      make demo PYTHON=/path/to/python3.12"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

install_venv() {
    # Only for the Python of the distribution, and only where nobody has to be asked.
    command -v apt-get >/dev/null || return 1
    case $(command -v "$1") in /usr/bin/* | /bin/*) ;; *) return 1 ;; esac
    as_root true 2>/dev/null || return 1
    echo "Installing python3-venv, without which this Python makes no environments ..."
    as_root apt-get update -qq >/dev/null 2>&1 || true
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
}

make_venv() {
    # Debian and Ubuntu leave ensurepip out of python3, so `venv` alone may fail there.
    rm -rf "$VENV"
    "$1" -m venv "$VENV" >/dev/null 2>&1 && return
    rm -rf "$VENV"
    if "$1" -m pip --version >/dev/null 2>&1 && "$1" -m venv --without-pip "$VENV"; then
        # A pip from outside fills an environment that has none (pip 22.3 and later).
        "$1" -m pip --python "$VENV/bin/python" install --quiet pip && return
    fi
    rm -rf "$VENV"
    install_venv "$1" && "$1" -m venv "$VENV" && return
    rm -rf "$VENV"
    fail "$1 cannot make virtual environments: it has neither ensurepip nor pip." \
        "On Debian and Ubuntu:  sudo apt-get install python3-venv" \
        "Another Python:        make demo PYTHON=/path/to/python3.12"
}

has_pip() {
    "$1" -m pip --version >/dev/null 2>&1 || "$1" -m ensurepip >/dev/null 2>&1
}

if ! usable "$VENV/bin/python" || ! has_pip "$VENV/bin/python"; then
    python=$(find_python "$1")
    echo "Making $VENV with $("$python" --version) ..."
    make_venv "$python"
fi
echo "Installing $2 into $VENV ..."
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$2" ||
    fail "Installing failed; what pip said stands above." \
        "It needs a package index: https://pypi.org, or the one that PIP_INDEX_URL names."
