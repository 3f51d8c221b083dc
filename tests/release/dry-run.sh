#!/usr/bin/env bash
# Makes a whole release of HEAD on this machine, by the scripts that release.yml calls: into a registry on the loopback
# interface, and into a copy of the repository. Then asserts that all of it agrees. Needs root, for the engine and for the
# packages of the cross compiler; leaves nothing but target/, /build/target and images behind.
#
# CARGO_PROFILE_RELEASE_LTO=off and its like make a trial faster; so does PROGRAMS=directory, which has linux-amd64/ and
# linux-arm64/ as `build` makes them: nothing is compiled then.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ROOT=$PWD TOOLS=$PWD/target/release-tools WORK=$PWD/target/release-dry-run PORT=${PORT:-5055}
readonly REPOSITORY=127.0.0.1:$PORT/acme/bastion-migrate
# Tests of the image, in a job as the runner starts it.
readonly TESTS=(
    start::a_job_whose_image_is_there_starts_within_two_seconds
    secrets::every_secret_is_masked_before_other_output
    image::the_image_holds_the_program_and_nothing_else
    image::the_image_labels_name_its_source_and_license
)
started=$SECONDS

step() {
    printf '\n== %s (%s s)\n' "$1" $((SECONDS - started))
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# refused VERSION EXPECTED: `verify` has to refuse with one line that contains this text.
refused() {
    local output
    if output=$(.github/release/verify "$1" 2>&1); then fail "verify accepts $1: $output"; fi
    [[ $output == *"$2"* && $output != *$'\n'* ]] || fail "verify refuses $1 with: $output"
    echo "ok: $output"
}

[[ $(uname -m) == x86_64 || ${PROGRAMS-} ]] || fail "both architectures can be built on an amd64 machine alone; use PROGRAMS=directory"
step "tools"
mkdir -p "$TOOLS"
tests/release/tools.sh "$TOOLS"
export PATH=$TOOLS/bin:$PATH
if [[ -d $TOOLS/docker ]]; then export DOCKER_CONFIG=$TOOLS/docker; fi

rm -rf "$WORK"
mkdir -p "$WORK"
git init --quiet --bare --initial-branch=main "$WORK/origin.git"
git push --quiet "$WORK/origin.git" HEAD:refs/heads/main
git clone --quiet "$WORK/origin.git" "$WORK/tree"
printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
    "$WORK/registry" "$PORT" >"$WORK/registry.yml"
docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
background=($!)
# One with children is the leader of a group.
stop() {
    local pid
    for pid in "${background[@]}"; do kill -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || true; done
}
trap stop EXIT

cd "$WORK/tree"
git config user.name "Dry run"
git config user.email dry-run@example.invalid
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

step "verify"
refused 99.0.0 "Cargo.toml has version $version"
sed -i "s/^## \[$version\].*/## [$version] - $(date --utc +%F)/" CHANGELOG.md
if ! git diff --quiet; then
    refused "$version" "the tree is not clean"
    git commit --quiet --all --message "changelog: the date of the release"
    git push --quiet origin main
fi
git mv CHANGELOG.md elsewhere.md && sed '/^## \['"$version"'\]/d' elsewhere.md >CHANGELOG.md
refused "$version" "CHANGELOG.md has no section"
git reset --quiet --hard
.github/release/verify "$version"

if [[ ${PROGRAMS-} ]]; then
    cp --archive "$PROGRAMS" dist
else
    # The last part of each build uses one processor.
    step "build amd64 and arm64"
    jobs=${CARGO_BUILD_JOBS:-$((($(nproc) + 1) / 2))}
    CARGO_BUILD_JOBS=$jobs setsid tests/release/cross.sh "$TOOLS/bin" >"$WORK/arm64.log" 2>&1 &
    background+=($!)
    CARGO_BUILD_JOBS=$jobs .github/release/build amd64
    wait "${background[1]}" ||
        fail "linux/arm64 can't be built on this machine, so there is no release to check: $(tail -n 20 "$WORK/arm64.log")"
    tail -n 1 "$WORK/arm64.log"
fi
step "SBOM and tarballs"
.github/release/sbom "$version"
.github/release/tarballs "$version"
step "image"
for (( tries = 0; tries < 50; tries++ )); do
    if timeout 5 bash -c "</dev/tcp/127.0.0.1/$PORT" 2>/dev/null; then break; fi
    kill -0 "${background[0]}" || fail "the registry has ended: $(cat "$WORK/registry.log")"
    sleep 0.1
done
digest=$(.github/release/image "$REPOSITORY" "$version")
step "stamp, tag and check"
git checkout --quiet --detach
.github/release/stamp "$REPOSITORY" "$version" "$digest"
.github/release/tag "$version"
.github/release/check "$REPOSITORY" "$version"

step "publish"
# GitHub's part is left out; the tags are pushed.
# shellcheck disable=SC2016
printf '#!/bin/sh\necho "gh $1 $2 $3" >&2\ncase $2 in view) echo 4 ;; esac\n' >"$WORK/gh"
chmod +x "$WORK/gh"
PATH=$WORK:$PATH .github/release/publish "$version"
git checkout --quiet main
refused "$version" "the tag v$version exists"
git tag --delete "v$version" >/dev/null
refused "$version" "origin has the tag v$version"
git fetch --quiet --tags --force

step "a job with the stamped action.yml"
git show "v$version:action.yml" >"$WORK/action.yml"
docker pull --quiet "$(sed -n 's|^  image: docker://||p' "$WORK/action.yml")"
# As `make image` builds it, if it has not yet.
docker image inspect bastion-migrate-lab:bookworm >/dev/null 2>&1 || env --unset=DOCKER_CONFIG ONLY=lab tests/container/image.sh
# Only here, where the suite is built in any case.
cd "$ROOT"
BASTION_MIGRATE_ACTION=$WORK/action.yml cargo test --locked --test container -- \
    --test-threads 1 --exact --include-ignored --show-output "${TESTS[@]}"
step "done"
