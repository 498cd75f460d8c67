# Sourced by the other scripts: where things are cached, and how they get there.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/toolward
mkdir -p "$cache"

fail() {
    echo "error: $*" >&2
    exit 1
}

# need COMMAND PACKAGE: makes sure that a command is there, from Debian's packages where that is possible.
need() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $2 for the command $1" >&2
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null ||
            fail "apt-get could not install $2; install the command $1 by hand"
    else
        fail "the command $1 is missing: install it (Debian: apt-get install $2)"
    fi
}

# install_once NAME FUNCTION: runs FUNCTION in a new folder, which becomes $cache/NAME when it succeeds. Two runs at a
# time don't disturb each other, and a broken one leaves nothing behind.
install_once() {
    local target=$cache/$1 lock=$cache/.lock staging
    [ -e "$target" ] && return
    exec 9>"$lock"
    flock 9
    if [ ! -e "$target" ]; then
        echo "installing $1 into $cache" >&2
        staging=$(mktemp -d "$cache/.staging.XXXXXX")
        (cd "$staging" && "$2") >"$staging.log" 2>&1 || { tail -n 30 "$staging.log" >&2; rm -rf "$staging"; fail "installing $1 failed; see $staging.log"; }
        rm -f "$staging.log"
        mv "$staging" "$target"
    fi
    exec 9>&-
}

# A short name for the content of files, so that a changed list of packages is a new install.
content() {
    cat "$@" | sha256sum | cut -c1-12
}
