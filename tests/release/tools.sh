#!/usr/bin/env bash
# Puts the tools of a dry run that the machine does not have into a directory: a registry, qemu, buildx and cargo-auditable.
# Packages are unpacked, not installed, so that no service starts.
#
# tools.sh DIRECTORY
set -euo pipefail
cd "$1"
mkdir -p bin

# unpack SUITE PACKAGE: downloads from a Debian suite that may not be the machine's own
unpack() {
    local apt mirror
    apt=$(mktemp -d)
    mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' | grep -m 1 '/debian/*$' ||
        echo http://deb.debian.org/debian)
    mkdir -p "$apt"/{etc,lists/partial,archives/partial}
    echo "deb $mirror $1 main" >"$apt/etc/sources.list"
    touch "$apt/status"
    local options=(
        -qq -o "Dir::Etc::SourceList=$apt/etc/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$apt/lists"
        -o "Dir::State::Status=$apt/status" -o "Dir::Cache=$apt" -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false
    )
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" download "$2")
    dpkg-deb --extract "$apt"/*.deb "$PWD/unpacked"
    rm -rf "$apt"
}

if ! command -v docker-registry >/dev/null && [[ ! -x bin/docker-registry ]]; then
    unpack bookworm docker-registry
    ln -sf ../unpacked/usr/bin/docker-registry bin/
fi
if ! command -v qemu-aarch64-static >/dev/null && [[ ! -x bin/qemu-aarch64-static ]]; then
    unpack bookworm qemu-user-static
    ln -sf ../unpacked/usr/bin/qemu-aarch64-static bin/
fi
if ! docker buildx version >/dev/null 2>&1 && [[ ! -x docker/cli-plugins/docker-buildx ]]; then
    unpack trixie docker-buildx
    mkdir -p docker/cli-plugins
    ln -sf ../../unpacked/usr/libexec/docker/cli-plugins/docker-buildx docker/cli-plugins/
fi
# The container of the other architecture's compiler gets this directory, so it has to be here.
if [[ ! -x bin/cargo-auditable ]]; then
    if installed=$(command -v cargo-auditable); then
        cp "$installed" bin/
    else
        cargo install cargo-auditable --locked --version 0.7.7 --root "$PWD"
    fi
fi
