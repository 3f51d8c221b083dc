#!/usr/bin/env bash
# Builds the action's image and the images of the container tests: the machines of their network, the applications that
# migrate in it, and a registry. Base images are pulled; if that is impossible, they are built from packages.
#
# DIST=1 takes the program from dist/ instead of building it. ONLY=lab makes only the network's machines. SOAK=1 makes
# the deployment server of `make soak-container`, too. PROFILE=release compiles the program as for a release, which takes
# three times as long.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ACTION=bastion-migrate:dev

# Prints the base images of these Dockerfiles, without their own stages.
bases() {
    sed -n 's/^FROM \([^ ]*:[^ ]*\).*/\1/p' "$@" | sort --unique
}

# build TAG DIRECTORY [OPTION...]
build() {
    docker build --tag "$1" "${@:3}" "tests/container/$2"
}

if ! output=$(docker version 2>&1); then
    printf 'make image: the Docker engine does not answer: %s\n' "${output##*$'\n'}" >&2
    echo "make image: start it (dockerd, or systemctl start docker) and see that this user may ask it" >&2
    exit 1
fi

dockerfiles=(Dockerfile tests/container/*/Dockerfile)
if [[ ${ONLY-} ]]; then
    dockerfiles=("tests/container/$ONLY/Dockerfile")
elif [[ ${DIST-} ]]; then
    dockerfiles=(tests/container/*/Dockerfile)
fi
# A stand-in has the name of a base image, without the digest.
has_stand_in() {
    [[ $(docker image inspect --format '{{index .Config.Labels "dev.bastion-migrate.stand-in"}}' "${1%@*}" 2>/dev/null) == true ]]
}

missing=()
for base in $(bases "${dockerfiles[@]}"); do
    if ! docker image inspect "$base" >/dev/null 2>&1 && ! has_stand_in "$base" && ! timeout 180 docker pull --quiet "$base"; then
        missing+=("${base%@*}")
    fi
done
if (( ${#missing[@]} )); then tests/container/stand-in.sh "${missing[@]}"; fi

# The builds use the machine's index of Python packages; they read its settings from the environment.
python=()
for variable in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
    key=global.${variable#PIP_} key=${key,,}
    if [[ ! -v $variable ]] && value=$(pip config get "${key//_/-}" 2>/dev/null); then export "$variable=$value"; fi
    if [[ -v $variable ]]; then python+=(--build-arg "$variable"); fi
done

build bastion-migrate-lab:bookworm lab
if [[ ${ONLY-} ]]; then exit; fi
build bastion-migrate-bare:bookworm bare
build bastion-migrate-registry:bookworm registry
for requirements in tests/container/app/requirements/*.txt; do
    name=$(basename "$requirements" .txt)
    build "bastion-migrate-app:$name" app --build-arg "REQUIREMENTS=$name" "${python[@]}"
done
build bastion-migrate-mind:bookworm mind --build-arg APP=bastion-migrate-app:django-5.2
if [[ ${SOAK-} ]]; then build bastion-migrate-server:bookworm server --build-arg APP=bastion-migrate-app:django-5.2; fi
build bastion-migrate-drivers:bookworm drivers "${python[@]}"
if [[ ${DIST-} ]]; then
    .github/release/image --load "$ACTION"
elif has_stand_in "$(bases Dockerfile)"; then
    sed 's/^\(FROM [^ ]*\)@sha256:[0-9a-f]*/\1/' Dockerfile | docker build --tag "$ACTION" --build-arg "PROFILE=${PROFILE:-quick}" --file - .
else
    docker build --tag "$ACTION" --build-arg "PROFILE=${PROFILE:-quick}" .
fi
docker image inspect --format "$ACTION: {{.Size}} bytes" "$ACTION"
