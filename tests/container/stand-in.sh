#!/usr/bin/env bash
# Replaces a registry: builds base images with these names from Debian's packages and the machine's own Rust, so that the
# real Dockerfiles can be built where nothing can be pulled. The machine's mirrors, proxies and CAs are copied into them.
# Needs root, for debootstrap.
#
# stand-in.sh debian:<suite>-slim|rust:<version>-slim-<suite>...
set -euo pipefail

readonly LABEL=dev.bastion-migrate.stand-in
readonly SYSTEM_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Prints the machine's sources of this suite as `deb` lines; nothing if the machine is not a Debian of that suite.
mirrors() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        grep -E " $1(-updates|-security)? main\$" || true
}

# Creates a minimal Debian of this suite with the machine's network settings.
debian() {
    local suite=$1 root=$2 sources mirror
    sources=$(mirrors "$suite")
    mirror=$(awk -v suite="$suite" '$3 == suite { print $2; exit }' <<<"$sources")
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${mirror:+"$mirror"} >&2
    if [[ $sources ]]; then echo "$sources" >"$root/etc/apt/sources.list"; fi
    apt-config dump | grep -E '^Acquire::https?::' >"$root/etc/apt/apt.conf.d/90machine" || true
    cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
    chroot "$root" update-ca-certificates >&2
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
}

# Copies the machine's Rust, without documentation and lints, to the place that the real image uses.
rust() {
    local version=$1 home=$2/usr/local/cargo sysroot host
    if [[ $(rustc --version) != "rustc $version."* ]]; then
        echo "stand-in: rust:$version needs Rust $version on this machine, which has $(rustc --version)" >&2
        exit 1
    fi
    sysroot=$(rustc --print sysroot) host=lib/rustlib/$(rustc --print host-tuple)
    mkdir -p "$home/bin" "$home/lib/rustlib"
    cp "$sysroot"/bin/{cargo,rustc} "$home/bin/"
    cp -P "$sysroot"/lib/*.so* "$home/lib/"
    cp -r "$sysroot/$host" "$home/$host"
    local config="${CARGO_HOME:-$HOME/.cargo}/config.toml"
    if [[ -f $config ]]; then cp "$config" "$home/"; fi
}

# import NAME ROOT [ENV...]
import() {
    local name=$1 root=$2 variable changes=(-c "LABEL $LABEL=true")
    for variable in "${@:3}"; do changes+=(-c "ENV $variable"); done
    tar -C "$root" --numeric-owner -c . | docker import "${changes[@]}" - "$name" >/dev/null
    echo "stand-in: $name is made from packages" >&2
}

scratch=$(mktemp -d --tmpdir bastion-migrate-stand-in-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
# debootstrap needs a root directory that other users may enter.
chmod 755 "$scratch"
# Sorted, so that both images share one Debian.
for name in $(printf '%s\n' "$@" | sort); do
    suite=${name##*-slim-} suite=${suite#debian:} suite=${suite%-slim}
    root=$scratch/$suite
    if [[ ! -d $root ]]; then debian "$suite" "$root"; fi
    case $name in
        debian:*-slim)
            import "$name" "$root" "PATH=$SYSTEM_PATH"
            ;;
        rust:*-slim-*)
            version=${name#rust:}
            rust "${version%%-slim-*}" "$root"
            import "$name" "$root" CARGO_HOME=/usr/local/cargo "PATH=/usr/local/cargo/bin:$SYSTEM_PATH"
            ;;
        *)
            echo "stand-in: nobody knows how to make $name" >&2
            exit 1
            ;;
    esac
done
