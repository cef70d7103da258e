#!/bin/sh
# Brings what a build and a boot need: the Rust target, a linker for the host, QEMU.
#
#   sh xtask/setup.sh build|run|test [--anew]
#   sudo sh xtask/setup.sh packages|uboot
#
# Plain sh, because it must run before there is a toolchain. The second time it only looks whether
# the files it found are still there. Packages are installed where that is permitted (root, or sudo
# without a password, on a system with apt); elsewhere one message says what to type.
set -eu
cd "$(dirname "$0")/.."

goal=${1:-test}
anew=${2:-}
out=${CARGO_TARGET_DIR:-target}/granule
stamp=$out/setup-$goal
triple=aarch64-unknown-none-softfloat
# raspi4b came with QEMU 9.0; virt as it is used here is older.
want_qemu=9
if [ "$goal" = run ] && [ "${BOARD:-virt}" = virt ]; then want_qemu=7; else stamp=$stamp-9; fi

say() { echo "setup: $*" >&2; }

# One clear message, and the end.
stop() {
    say "$1"
    shift
    for line in "$@"; do echo "    $line" >&2; done
    exit 1
}

# --- the second time ---------------------------------------------------------------------------
# The stamp lists the files found, newest knowledge first: the toolchain asked for. A tool newer
# than the stamp was replaced: look again.
ask="$(cat rust-toolchain.toml) ${RUSTUP_TOOLCHAIN:-}"
if [ -z "$anew" ] && [ -f "$stamp" ] && [ "$stamp" -nt xtask/setup.sh ]; then
    fresh=yes
    while IFS= read -r file; do
        if [ ! -e "$file" ] || [ "$file" -nt "$stamp" ]; then fresh=; fi
    done <"$stamp"
    if [ -n "$fresh" ] && [ "$(cat "$stamp.ask" 2>/dev/null)" = "$ask" ]; then exit 0; fi
fi
found=
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# --- packages ----------------------------------------------------------------------------------
as_root=
may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null && sudo -n true 2>/dev/null && as_root='sudo -n'
}

# apt, quietly; its words are shown only if it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null
}

lists_read=
read_lists() {
    [ -n "$lists_read" ] || apt update || true
    lists_read=yes
}

# Installs packages from the system's own sources.
install() {
    read_lists
    say "installing $*"
    apt install -y --no-install-recommends "$@" || {
        tail -n 5 "$log" >&2
        return 1
    }
}

# The command that installs $1 (apt) $2 (dnf) $3 (pacman) $4 (zypper) $5 (apk) $6 (brew) here.
how() {
    for try in "apt-get:$1" "dnf:$2" "pacman:$3" "zypper:$4" "apk:$5" "brew:$6"; do
        tool=${try%%:*}
        command -v "$tool" >/dev/null || continue
        case $tool in
        pacman) echo "sudo pacman -S ${try#*:}" ;;
        apk) echo "sudo apk add ${try#*:}" ;;
        brew) echo "brew install ${try#*:}" ;;
        *) echo "sudo $tool install ${try#*:}" ;;
        esac
        return
    done
    echo "(the package of your system that holds it: $2)"
}

# The same, where this script can do it by itself if it is only let.
packages() {
    if command -v apt-get >/dev/null; then echo "sudo sh xtask/setup.sh packages"; else how "$@"; fi
}

# --- Rust --------------------------------------------------------------------------------------
toolchain=${RUSTUP_TOOLCHAIN:-$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)}

# Whether the toolchain has everything; notes its files.
rust_is_there() {
    root=$(RUSTUP_AUTO_INSTALL=0 RUSTUP_TOOLCHAIN=$toolchain rustc --print sysroot 2>/dev/null) || return 1
    files=$root/lib/rustlib/$triple/lib
    for tool in cargo cargo-clippy rustfmt; do files="$files
$root/bin/$tool"; done
    for file in $files; do [ -e "$file" ] || return 1; done
    found="$found$files
"
}

rust() {
    if ! command -v rustc >/dev/null; then
        stop "Rust is missing. Install rustup (https://rustup.rs), then type make again."
    fi
    rust_is_there && return
    if ! command -v rustup >/dev/null; then
        stop "this Rust cannot build for $triple, and there is no rustup to bring it." \
            "Install rustup (https://rustup.rs), then type make again."
    fi
    say "installing Rust $toolchain for $triple"
    # One component at a time: what an older rustup understands, too.
    if ! RUSTUP_AUTO_INSTALL=0 RUSTUP_TOOLCHAIN=$toolchain rustc --version >/dev/null 2>&1; then
        rustup toolchain install "$toolchain" --profile minimal || true
    fi
    rustup component add --toolchain "$toolchain" clippy rustfmt || true
    rustup target add --toolchain "$toolchain" "$triple" || true
    rust_is_there || stop "rustup could not bring it. Type this, and see why:" \
        "rustup toolchain install $toolchain -c clippy -c rustfmt -t $triple"
}

# --- a linker for the host's own tools ---------------------------------------------------------
linker() {
    if ! command -v cc >/dev/null; then
        case $(uname -s) in
        Darwin) stop "no C compiler to link with. Type:" "xcode-select --install" ;;
        esac
        may_install && install gcc libc6-dev || stop "no C compiler to link with. Type:" \
            "$(packages build-essential gcc base-devel gcc build-base gcc)"
    fi
    found="$found$(command -v cc)
"
}

# --- QEMU --------------------------------------------------------------------------------------
qemu_major() {
    major=$(qemu-system-aarch64 --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
    echo "${major:-0}"
}

# The major version of QEMU that the system's own sources offer.
offered() {
    apt-cache policy qemu-system-arm | sed -n 's/.*Candidate: \([0-9]*:\)\{0,1\}\([0-9]*\)\..*/\2/p'
}

# Debian's backports, used once: the system's list of sources stays as it is. The mirror is the one
# that the system uses for its own release.
install_from_backports() {
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    targets=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(SITE)')
    site=$(echo "$targets" | sed -n "s/^Packages $release //p" | head -n 1)
    [ -n "$site" ] || return 1
    say "installing QEMU from $release-backports"
    own=$(mktemp -d)
    mkdir -p "$own/sources" "$own/lists/partial" "$own/cache/archives/partial"
    for list in /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        if [ -e "$list" ]; then cp "$list" "$own/sources/"; fi
    done
    echo "deb $site $release-backports main" >"$own/sources/granule-backports.list"
    # apt's own user reads the lists.
    chmod -R a+rX "$own"
    status=0
    from_backports update && from_backports install -y --no-install-recommends \
        -t "$release-backports" qemu-system-arm || status=1
    [ $status = 0 ] || tail -n 5 "$log" >&2
    $as_root rm -rf "$own"
    return $status
}

from_backports() {
    apt -o Dir::Etc::SourceParts="$own/sources" -o Dir::State::Lists="$own/lists" \
        -o Dir::Cache="$own/cache" "$@"
}

install_qemu() {
    may_install || return 1
    read_lists
    offer=$(offered)
    if [ "${offer:-0}" -ge 9 ]; then
        install qemu-system-arm
    elif [ "$(. /etc/os-release && echo "${ID:-}")" = debian ]; then
        install_from_backports
    elif [ "$(qemu_major)" = 0 ] && [ "${offer:-0}" -ge "$want_qemu" ]; then
        install qemu-system-arm
    else
        return 1
    fi
}

qemu() {
    if [ "$(qemu_major)" -lt "$want_qemu" ]; then install_qemu || true; fi
    have=$(qemu_major)
    if [ "$have" -lt "$want_qemu" ]; then
        name="QEMU $want_qemu or later (qemu-system-aarch64)"
        case $have in
        0) why="$name is missing. Type:" ;;
        *) why="$name is needed for raspi4b; this is QEMU $have. Type, or see qemu.org:" ;;
        esac
        stop "$why" "$(qemu_command)"
    fi
    if [ "$have" -lt 9 ]; then say "QEMU $have runs virt; raspi4b and make test want 9 or later"; fi
    found="$found$(command -v qemu-system-aarch64)
"
}

# What to type for a QEMU that is new enough.
qemu_command() {
    case $(. /etc/os-release 2>/dev/null && echo "${ID:-}-${VERSION_ID:-}") in
    debian-1[01]) echo "(this release has no QEMU $want_qemu: upgrade to Debian 12 or later)" ;;
    ubuntu-2[0-3].*) echo "sudo do-release-upgrade   # this release has no QEMU $want_qemu" ;;
    ubuntu-24.04)
        archive=
        [ $want_qemu -lt 9 ] || archive="sudo add-apt-repository cloud-archive:epoxy && "
        echo "${archive}sudo apt-get install qemu-system-arm"
        ;;
    *) packages qemu-system-arm qemu-system-aarch64 qemu-system-aarch64 qemu-arm qemu-system-aarch64 qemu ;;
    esac
}

# --- the verbs ---------------------------------------------------------------------------------
mkdir -p "$out"
case $goal in
build) rust && linker ;;
run | test) rust && linker && qemu ;;
packages)
    linker && qemu
    exit 0
    ;;
uboot)
    # Wanted by one boot of the tests, which says so where it is missing.
    if [ ! -e /usr/lib/u-boot/qemu_arm64/u-boot.bin ] && may_install; then
        install u-boot-qemu || say "going on without U-Boot"
    fi
    exit 0
    ;;
*) stop "no such goal: $goal" ;;
esac
printf '%s' "$found" >"$stamp"
printf '%s' "$ask" >"$stamp.ask"
