#!/bin/bash
# Installs the validators into target/workflow-lint, unless they are there already. Fails if they can't be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
requirements=tests/workflows/requirements.txt
directory=target/workflow-lint
wanted=$(sha256sum "$requirements")
if [[ -e $directory/installed && $(<"$directory/installed") == "$wanted" ]]; then
    exit
fi
rm -rf "$directory"
python3 -m venv "$directory"
# Only what is named, with the hashes that are named, and nothing that would run code of its own to be built.
"$directory/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 15 \
    --require-hashes --only-binary :all: --requirement "$requirements"
echo "$wanted" >"$directory/installed"
