#!/bin/bash
# lint.sh [DIRECTORY [VALIDATOR]]: checks the workflows of a directory, this repository by default, with all validators that
# install.sh has installed, or with one. Anything that one of them reports is a failure; there are no ignores.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
PATH=$(realpath "$here/../../target/workflow-lint/bin"):$PATH
cd "${1:-$here/../..}"
only=${2:-}
own=(.github/workflows/*.yml)
examples=(examples/workflows/*.yml)
shopt -s nullglob
actions=(action.yml .github/*/action.yml)
scripts=("$here"/*.sh tests/release/*.sh .github/binary/*.sh docs/images/*.sh)
while IFS= read -r script; do scripts+=("$script"); done < <(grep -rl '^#!/usr/bin/env bash' .github/release)
failed=()

# check NAME COMMAND…: runs a validator, whose output is shown only if it reports something.
check() {
    local name=$1 output
    shift
    if [[ $only && $only != "$name" ]]; then return; fi
    if output=$("$@" 2>&1); then
        echo "  $name: nothing"
    else
        echo "  $name:"
        echo "$output"
        failed+=("$name")
    fi
}

# Lays out the examples as a repository of their own, beside the building blocks and the action that they use by its name. So
# each call is checked against the workflow that it calls.
lay_out() {
    # A directory `.git` makes it one for jactionlint.
    mkdir -p "$1/.github/workflows" "$1/.git"
    cp "${own[@]}" "$1/.github/workflows/"
    local block example
    # As docs/workflows.md describes it for GitHub Enterprise Server.
    for block in plan migrate; do
        sed -e 's|uses: \$/|uses: bastion-migrate/bastion-migrate@v0|' -e '/queue: max/d' \
            ".github/workflows/$block.yml" >"$1/.github/workflows/enterprise-$block.yml"
    done
    for example in "${examples[@]}"; do
        sed -E -e 's|bastion-migrate/bastion-migrate/(\.github/workflows/[a-z]+\.yml)@v0|./\1|' \
            -e 's|bastion-migrate/bastion-migrate@v0|$/|' "$example" >"$1/.github/workflows/example-$(basename "$example")"
    done
    cp action.yml Dockerfile "$1/"
    # Programs of the image, which jactionlint looks for in the repository.
    touch "$1/bastion-migrate" "$1/bastion-migrate-sweep"
}

# jactionlint calls shellcheck for the scripts in the workflows.
lint_layout() {
    lay_out "$1"
    (cd "$1" && jactionlint --config-file "$here/jactionlint.yaml" --strict-exit --oneline)
}

# Writes each block of commands in the documents into a file that is named by its page and its line.
extract_commands() {
    awk -v folder="$1" '
        FNR == 1 { script = "" }
        /^ *```/ {
            if (script) { close(script); script = ""; next }
            if ($0 ~ /```sh$/) {
                page = FILENAME
                gsub("/", "-", page)
                script = folder "/" page "-" FNR ".sh"
                print "#!/bin/bash" >script
            }
            next
        }
        script { print >script }' README.md docs/*.md
}

lint_commands() {
    extract_commands "$1"
    shellcheck --severity=warning "$1"/*.sh
}

layout=$(mktemp --directory)
commands=$(mktemp --directory)
trap 'rm -rf "$layout" "$commands"' EXIT
echo "lint-workflows: $((${#own[@]} + ${#examples[@]})) workflows, findings of"
check workflow-schema check-jsonschema --builtin-schema vendor.github-workflows "${own[@]}" "${examples[@]}"
check action-schema check-jsonschema --builtin-schema vendor.github-actions "${actions[@]}"
# Given a directory, zizmor would leave out the examples.
if [[ -e .github/dependabot.yml ]]; then
    check dependabot-schema check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
fi
check zizmor zizmor --offline --no-progress --quiet --no-ignores --strict-collection --config .github/zizmor.yml \
    "${own[@]}" "${examples[@]}" "${actions[@]}"
check jactionlint lint_layout "$layout"
check shellcheck shellcheck --severity=warning "${scripts[@]}"
check documents lint_commands "$commands"
if ((${#failed[@]})); then
    echo "lint-workflows: ${failed[*]} found something" >&2
    exit 1
fi
