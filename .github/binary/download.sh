#!/usr/bin/env bash
# Downloads the program of this release, compares its checksum with the one in action.yml, and puts its path into the output
# `program`. Needs curl, tar and sha256sum.
set -euo pipefail

refuse() {
    echo "::error title=bastion-migrate::$*"
    exit 1
}

if [[ $COMMAND == tunnel ]]; then
    refuse "\`command: tunnel\` opens its port in a container, so it needs the container action: remove \`/.github/binary\` from \`uses:\`"
fi
if [[ $EXECUTOR == image ]]; then
    refuse "\`executor: image\` needs the container action, whose network the tool's container shares: remove \`/.github/binary\` from \`uses:\`"
fi
if [[ -z $VERSION ]]; then
    refuse "only a release has programs to download: use a version in \`uses:\`, such as \`@v1.2.3\`, not a branch"
fi
case $RUNNER_OS-$RUNNER_ARCH in
    Linux-X64) architecture=amd64 sum=$SHA256_AMD64 ;;
    Linux-ARM64) architecture=arm64 sum=$SHA256_ARM64 ;;
    *) refuse "there is a program for Linux on X64 and ARM64, not for $RUNNER_OS on $RUNNER_ARCH" ;;
esac

name=bastion-migrate-v$VERSION-linux-$architecture
directory=$RUNNER_TEMP/$name-${sum:0:12}
if [[ ! -x $directory/$name/bastion-migrate ]]; then
    scratch=$(mktemp -d "$RUNNER_TEMP/bastion-migrate-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    curl --fail --silent --show-error --location --retry 3 --output "$scratch/$name.tar.gz" "$RELEASES/v$VERSION/$name.tar.gz" ||
        refuse "$RELEASES/v$VERSION/$name.tar.gz can't be downloaded"
    echo "$sum  $scratch/$name.tar.gz" | sha256sum --check --status ||
        refuse "the checksum of $name.tar.gz is not the one of this release ($sum)"
    mkdir -p "$directory"
    tar --extract --file "$scratch/$name.tar.gz" --directory "$directory"
fi
echo "program=$directory/$name/bastion-migrate" >>"$GITHUB_OUTPUT"
