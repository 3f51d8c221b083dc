#!/bin/bash
# Breaks the workflows in one way after the other; the validators have to notice each.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../..")
copy=$(mktemp --directory)
trap 'rm -rf "$copy"' EXIT
blocks=.github/workflows
examples=examples/workflows
count=0
missed=()

# mutant TITLE VALIDATOR FILE EXPRESSION: edits a file with sed, and expects that this validator finds it.
mutant() {
    local title=$1 validator=$2 file=$3 expression=$4 output
    rm -rf "${copy:?}"/* "$copy/.github"
    (cd "$root" && cp --parents -r .github examples/workflows action.yml Dockerfile README.md docs "$copy/")
    sed -E -i -z "$expression" "$copy/$file"
    if cmp --silent "$copy/$file" "$root/$file"; then
        echo "  $title: $file has nothing to change" >&2
        exit 1
    fi
    count=$((count + 1))
    output=$("$here/lint.sh" "$copy" "$validator" 2>&1) || true
    if grep --quiet "^  $validator:\$" <<<"$output"; then
        echo "  $title: found by $validator"
    else
        echo "  $title: MISSED by $validator"
        echo "$output"
        missed+=("$title")
    fi
}

echo "lint-workflows: mutants"
mutant "a foreign action by its tag" zizmor $blocks/plan.yml 's/checkout@[0-9a-f]+ #/checkout@v5 #/'
mutant "a checkout that keeps its credentials" zizmor $examples/approve.yml 's/persist-credentials: false/fetch-depth: 1/'
mutant "a pull request's text in a script" zizmor $examples/server.yml \
    's|run: ./deploy.sh|run: ./deploy.sh ${{ github.event.pull_request.title }}|'
mutant "every secret for a called workflow" zizmor $examples/drift.yml 's/secrets:\n.*/secrets: inherit\n/'
mutant "all permissions" zizmor $examples/compose.yml 's/    permissions:\n      contents: read\n/    permissions: write-all\n/'
mutant "a pull request of a stranger, with secrets" zizmor $examples/plan-comment.yml 's/pull_request:/pull_request_target:/'
mutant "a misspelt key" workflow-schema $examples/image-uat.yml 's/timeout-minutes/timeout-minuts/'
mutant "a misspelt key of the action" action-schema action.yml 's/post-entrypoint:/post-entry-point:/'
mutant "a job without a time limit" jactionlint $examples/image-prod.yml 's/    timeout-minutes: 45\n//'
mutant "a long queue that is cancelled" jactionlint $blocks/migrate.yml 's/cancel-in-progress: false/cancel-in-progress: true/'
mutant "an input that the building block does not have" jactionlint $examples/promote.yml 's/approval-environment:/approvers:/'
mutant "a secret that the building block does not have" jactionlint $examples/reusable.yml 's/DATABASE_URL:/DB_URL:/'
mutant "a job with too few permissions" jactionlint $examples/image-ecr.yml 's/      id-token: write[^\n]*\n//'
mutant "an output that does not exist" jactionlint $examples/approve.yml 's/needs.plan.outputs.plan-digest/needs.plan.outputs.digest/'
mutant "an input that the action does not have" jactionlint $examples/image-ecr.yml 's/pass-env:/pass-environment:/'
mutant "a job that nobody defines" jactionlint $examples/image-prod.yml 's/needs: \[plan, approve\]/needs: [plan, approval]/'
mutant "a variable without quotes" jactionlint $examples/containers.yml 's|deploy.sh "\$IMAGE"|deploy.sh $IMAGE|'
mutant "commands of the documents in whatever directory" documents docs/coming-from.md 's/ \|\| exit 1//'
if ((${#missed[@]})); then
    echo "lint-workflows: ${#missed[@]} of $count mutants missed" >&2
    exit 1
fi
echo "lint-workflows: all $count mutants found"
