# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the scripts beside it: where the rig keeps things, how an entry of the cache comes into being, and packages of
# Debian suites that this machine does not name. Its own package lists and its own packages stay as they are.
set -euo pipefail
export LC_ALL=C

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${MEMCGPROF_VM_CACHE:-${XDG_CACHE_HOME:-/var/cache}/memcgprof-vm}

UNAVAILABLE=77 # exit status: a suite or the network is not there; whoever called may skip

say() { echo "vm: $*" >&2; }
unavailable() { say "$*"; exit "$UNAVAILABLE"; }

key() { # FILE-OR-WORD...: content hash of what an entry is made of
        local x
        for x in "$@"; do
                if [ -f "$x" ]; then cat "$x"; else echo "$x"; fi
        done | sha256sum | cut -c1-12
}

need_room() { # MEGABYTES free below the cache
        local free
        mkdir -p "$cache"
        free=$(df --output=avail -m "$cache" | tail -n 1)
        [ "$free" -ge "$1" ] || unavailable "$cache has $((free)) MB free, and $1 are needed"
}

# An entry is a directory that appears whole or not at all: `make_entry PATH FUNCTION` runs FUNCTION in a directory that becomes PATH.
make_entry() {
        local path=$1 function=$2 part
        mkdir -p "$(dirname "$path")"
        exec 9>"$path.lock"
        flock 9
        if [ ! -d "$path" ]; then
                need_room 8000 # what the largest takes while it is made: 2 GB of kernel source, and all that is built of it
                rm -rf "$path".part.* # of one that was killed
                part=$(mktemp -d "$path.part.XXXXXX")
                # shellcheck disable=SC2064
                trap "give_up '$part'" EXIT
                (cd "$part" && "$function")
                chmod 755 "$part"
                mv -T "$part" "$path"
                trap - EXIT
        fi
        exec 9>&- # the lock file stays: who waits on a removed one would not see the next
}

give_up() { # PART: it did not work; what it said stays in the cache
        if [ -e "$1/build.log" ]; then
                tail -n 20 "$1/build.log" >&2
                mv "$1/build.log" "$cache/failed-build.log"
        fi
        rm -rf "$1"
}

drop_others() { # PATH: entries of the same name made of something else
        local other
        for other in "${1%-*}"-????????????; do
                [ "$other" = "$1" ] || rm -rf "$other"
        done
}

mirror() { # RELEASE: where this machine's apt takes bookworm or bookworm-security from
        apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk -v r="$1" '$2 == r && !n++ { print $1 }' # no exit: that would break the pipe
}

sources_of() { # SUITE: sources in apt's format
        local main security signed=/usr/share/keyrings/debian-archive-keyring.gpg
        main=$(mirror bookworm)
        security=$(mirror bookworm-security)
        [ -n "$main" ] || unavailable "apt names no mirror of bookworm here"
        case $1 in
        bookworm) echo "deb [signed-by=$signed] $main bookworm main" ;;
        bookworm-backports)
                sources_of bookworm
                echo "deb [signed-by=$signed] $main bookworm-backports main"
                return ;;
        *) echo "deb [signed-by=$signed] $main $1 main" ;;
        esac
        if [ "$1" = bookworm ] && [ -n "$security" ]; then
                echo "deb [signed-by=$signed] $security bookworm-security main"
        fi
}

apt_of() { # SUITE get|cache ARGUMENT...: apt with package lists of its own
        local suite=$1 tool=$2 d=$cache/apt/$1
        shift 2
        "apt-$tool" -q -o Dir::Etc::sourcelist="$d/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$d/lists" \
                -o Dir::Cache::pkgcache="$d/pkgcache.bin" -o Dir::Cache::srcpkgcache= -o Dir::Cache::archives="$d/archives" \
                -o Dir::State::extended_states="$d/extended_states" -o APT::Install-Recommends=false \
                -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root "$@"
}

open_suite() { # SUITE: brings its lists up to date, once a day
        local d=$cache/apt/$1
        mkdir -p "$d/lists/partial" "$d/archives/partial"
        [ -z "$(find "$d/updated" -mtime -1 2>/dev/null)" ] || return 0
        sources_of "$1" > "$d/sources.list"
        apt_of "$1" get -o Acquire::Retries=2 -o APT::Update::Error-Mode=any update >"$d/log" 2>&1 ||
                unavailable "no package lists of $1: $(grep -m 1 -E '^[EW]:' "$d/log" || echo unknown reason)"
        touch "$d/updated"
}

fetch() { # SUITE PACKAGE...: downloads packages into the current directory
        local suite=$1
        shift
        apt_of "$suite" get download "$@" >/dev/null 2>"$cache/apt/$suite/log" ||
                unavailable "$suite does not give $*: $(grep -m 1 -E '^E:' "$cache/apt/$suite/log" || true)"
}

# Where whoever may install is wanted: packages of this machine's own suite.
need_packages() {
        local p missing=()
        for p in "$@"; do
                [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
        done
        [ ${#missing[@]} -eq 0 ] && return
        [ "$EUID" -eq 0 ] || unavailable "not installed, and not root: ${missing[*]}"
        say "installing ${missing[*]}"
        { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"; } \
                </dev/null >"$cache/install.log" 2>&1 || unavailable "could not install ${missing[*]}: $(tail -n 1 "$cache/install.log")"
}
