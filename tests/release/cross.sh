#!/usr/bin/env bash
# Runs `.github/release/build arm64` on an amd64 machine: with the Rust and the cross compiler of Debian sid, in a container
# that is made from packages once. Releases don't need this: GitHub has machines of both architectures.
#
# cross.sh TOOLS: the directory with `cargo-auditable`
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly IMAGE=bastion-migrate-cross:sid
root='' container=''
cleanup() {
    # A killed debootstrap leaves its mounts.
    if [[ $root ]]; then
        umount "$root"/{proc,sys} 2>/dev/null || true
        rm -rf --one-file-system "$root"
    fi
    # It outlives the client that started it.
    if [[ $container ]]; then docker rm --force "$container" >/dev/null 2>&1 || true; fi
}
trap cleanup EXIT

# Debian's Rust has no other architecture's standard library but as a package of that architecture. Unpacked, it is enough for
# a static program, and nothing else of that architecture has to have the same versions as in this one, as sid seldom has it.
make_image() {
    local mirror
    root=$(mktemp -d --tmpdir bastion-migrate-cross-XXXXXX)
    chmod 755 "$root"
    mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' | grep -m 1 '/debian/*$' ||
        echo http://deb.debian.org/debian)
    debootstrap --variant=minbase \
        --include=ca-certificates,gcc,libc6-dev,make,perl,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross \
        sid "$root" "$mirror" >&2
    apt-config dump | grep -E '^Acquire::https?::' >"$root/etc/apt/apt.conf.d/90machine" || true
    # Mirrors of sid may be older than its signature lasts.
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/91valid"
    cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
    chroot "$root" update-ca-certificates >&2
    chroot "$root" dpkg --add-architecture arm64
    chroot "$root" apt-get update -qq >&2
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cargo rustc >&2
    chroot "$root" sh -c 'cd /tmp && apt-get -qq -o APT::Sandbox::User=root download libstd-rust-dev:arm64 &&
        dpkg-deb --extract libstd-rust-dev_*.deb / && rm libstd-rust-dev_*.deb' >&2
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
    tar -C "$root" --numeric-owner -c . |
        docker import -c 'LABEL dev.bastion-migrate.stand-in=true' \
            -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$IMAGE" >/dev/null
}

docker image inspect "$IMAGE" >/dev/null 2>&1 || make_image

tools=$(realpath "$1") cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
# Another compiler, other files.
target_dir=${RELEASE_TARGET_DIR:-/build/target}/cross
mkdir -p "$target_dir"
cargo fetch --locked --target aarch64-unknown-linux-gnu
variables=(
    "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)" "CARGO_HOME=$cargo_home" "RELEASE_TARGET_DIR=$target_dir" CARGO_NET_OFFLINE=true
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
)
# What makes a trial fast.
while IFS= read -r variable; do variables+=("$variable"); done < <(env | grep -E '^CARGO_(PROFILE|BUILD)_' || true)
container=bastion-migrate-cross-$$
docker run --rm --name "$container" --workdir "$PWD" --volume "$PWD:$PWD" --volume "$cargo_home:$cargo_home" \
    --volume "$target_dir:$target_dir" --volume "$tools:/tools:ro" "${variables[@]/#/--env=}" \
    --env PATH=/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "$IMAGE" nice .github/release/build arm64
