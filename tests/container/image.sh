#!/usr/bin/env bash
# Builds the action's image, and the one that the container tests make their network of. Base images are pulled; where that
# is impossible they are made from packages.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ACTION=bastion-migrate:dev LAB=bastion-migrate-lab:bookworm

# The images that this Dockerfile begins with, besides its own stages.
bases() {
    sed -n 's/^FROM \([^ ]*:[^ ]*\).*/\1/p' "$1"
}

if ! said=$(docker version 2>&1); then
    printf 'make image: the Docker engine does not answer: %s\n' "${said##*$'\n'}" >&2
    echo "make image: start it (dockerd, or systemctl start docker) and see that this user may ask it" >&2
    exit 1
fi

missing=()
for base in $(bases Dockerfile) $(bases tests/container/lab/Dockerfile); do
    if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 180 docker pull --quiet "$base"; then
        missing+=("$base")
    fi
done
if (( ${#missing[@]} )); then tests/container/stand-in.sh "${missing[@]}"; fi

docker build --tag "$LAB" tests/container/lab
docker build --tag "$ACTION" .
docker image inspect --format "$ACTION: {{.Size}} bytes" "$ACTION"
