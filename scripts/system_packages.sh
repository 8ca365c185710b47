#!/bin/sh
# Which Debian packages are missing, and how they get in: by root or passwordless sudo, otherwise by the person, who is
# told the exact command. Other systems are told what to look for and go on.
#
#   scripts/system_packages.sh missing LEVEL [PYTHON]    one package per line, nothing where nothing is missing
#   scripts/system_packages.sh install LEVEL [PYTHON]    installs them, or stops with status 1 and the command to type
#
# LEVEL: base (what Open3D loads), test (base, and a browser with Chinese fonts to look at the reports with).
# PYTHON: the interpreter that will make .venv; leave it out where its venv module is not needed.
set -eu

# The shared libraries Open3D loads, by the package that brings each on Debian and its relatives.
base_packages="libusb-1.0-0 libgl1 libegl1 libx11-6 libgomp1"
browsers="chromium chromium-browser google-chrome google-chrome-stable"

say() { printf '%s\n' "$*" >&2; }

is_debian_like() {
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1
}

is_installed() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}\n' "$1" 2>/dev/null | head -n 1)" = installed ]
}

is_ubuntu() {
    grep -Eq '^ID(_LIKE)?=.*ubuntu' /etc/os-release 2>/dev/null
}

has_browser() {
    for browser in $browsers; do
        command -v "$browser" >/dev/null 2>&1 && return 0
    done
    return 1
}

# Debian's python3 leaves out ensurepip, and venv without it makes an environment that cannot install anything.
needs_venv_package() {
    [ -n "$1" ] && ! "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

missing() {
    level=$1
    python=$2
    for package in $base_packages; do
        is_installed "$package" || printf '%s\n' "$package"
    done
    if needs_venv_package "$python"; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
    if [ "$level" = test ]; then
        if ! has_browser; then
            if is_ubuntu; then
                say "No browser: Ubuntu has Chromium only as a snap (snap install chromium); browser tests are skipped."
            else
                printf '%s\n' chromium
            fi
        fi
        is_installed fonts-noto-cjk || printf '%s\n' fonts-noto-cjk
    fi
}

apt_command() {
    printf '%s' "apt-get update && $1 apt-get install --yes --no-install-recommends $2"
}

install() {
    level=$1
    python=$2
    if ! is_debian_like; then
        say "This is not Debian or a relative of it, so no system libraries are installed for you."
        say "Abbe runs without them except for Open3D; \`abbe doctor\` names what is missing and what to do."
        if needs_venv_package "$python"; then
            say "$python cannot make virtual environments: install its venv and ensurepip modules, or install uv."
            return 1
        fi
        return 0
    fi
    packages=$(missing "$level" "$python" | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0

    if [ "$(id -u)" -eq 0 ]; then
        prefix="env"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
        prefix="sudo -n env"
    else
        say "These system packages are missing, and installing them needs an administrator: $packages"
        say "Type this, then start again:"
        say ""
        if command -v sudo >/dev/null 2>&1; then
            say "    sudo $(apt_command sudo "$packages")"
        else
            say "    su -c '$(apt_command '' "$packages" | tr -s ' ')'"
        fi
        say ""
        return 1
    fi

    say "Installing system packages: $packages"
    # A hundred lines of unpacking hide the one that matters; they are shown where something went wrong.
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # Waiting for the lock covers unattended upgrades. A failed update is not the end: the lists that are here may do.
    $prefix DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq update >"$log" 2>&1 ||
        say "apt-get update failed; going on with the package lists that are here."
    # shellcheck disable=SC2086  # a list of words
    if ! $prefix DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq \
        install --yes --no-install-recommends $packages </dev/null >>"$log" 2>&1; then
        cat "$log" >&2
        say "apt-get could not install: $packages"
        say "Its message is above. Where a package has another name on this system, install it by hand and start again."
        return 1
    fi
}

usage() {
    say "usage: $0 missing|install base|test [PYTHON]"
    exit 2
}

[ $# -ge 2 ] && [ $# -le 3 ] || usage
case $2 in base | test) ;; *) usage ;; esac
case $1 in
    missing) missing "$2" "${3-}" ;;
    install) install "$2" "${3-}" ;;
    *) usage ;;
esac
