#!/usr/bin/env bash
# Runs the fuzz targets, each for MINUTES, one per processor at a time; ONLY="url startup" runs some of them. It ends by
# itself. An input that violates a property is saved below target/fuzz/finds and ends its target; the others continue. The
# learnt corpus stays in target/fuzz/learnt, and the next call continues from there.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly VERSION=0.13.2
readonly WORK=$PWD/target/fuzz TOOLS=$PWD/target/fuzz-tools
minutes=${MINUTES:-10}

if ! [[ $minutes =~ ^[1-9][0-9]*$ ]]; then
    echo "make fuzz: MINUTES is \`$minutes\`, which is not a number of minutes (at least 1)" >&2
    exit 2
fi
known=$(sed -n '/^\[\[bin\]\]/,$s/^name = "\(.*\)"$/\1/p' tests/fuzz/Cargo.toml)
read -ra targets <<<"${ONLY:-${known//$'\n'/ }}"
for target in "${targets[@]}"; do
    if ! grep -qxF -- "$target" <<<"$known"; then
        echo "make fuzz: ONLY names \`$target\`; the targets are" $known >&2
        exit 2
    fi
done

if ! "$TOOLS/bin/cargo-fuzz" --version 2>/dev/null | grep -qF "$VERSION"; then
    cargo install --locked --root "$TOOLS" cargo-fuzz --version "$VERSION"
fi
# Without a sanitizer: we have no unsafe code for one to check, and without it any toolchain works. Overflows are found,
# because debug assertions are on.
RUSTC_WRAPPER=$PWD/tests/fuzz/rustc.sh "$TOOLS/bin/cargo-fuzz" build --fuzz-dir tests/fuzz --target-dir "$WORK/build" --sanitizer none
programs=$WORK/build/$(rustc --print host-tuple)/release

fuzz() {
    local target=$1
    mkdir -p "$WORK/learnt/$target" "$WORK/finds/$target"
    local options=(-max_total_time=$(( MINUTES * 60 )) -timeout=30 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1
        -artifact_prefix="$WORK/finds/$target/")
    if [[ -f tests/fuzz/words/$target ]]; then options+=(-dict="tests/fuzz/words/$target"); fi
    # A busy machine may take seconds for one input, so the target ends itself by max_total_time; timeout(1) is for a target
    # that no longer checks the time.
    if timeout --kill-after=5 $(( MINUTES * 60 + 60 )) "$PROGRAMS/$target" "${options[@]}" \
        "$WORK/learnt/$target" "tests/fuzz/corpus/$target" >"$WORK/$target.log" 2>&1 </dev/null; then
        verdict=held
    else
        verdict=FAILED
    fi
    local count
    count=$(sed -n 's/^stat::number_of_executed_units: *//p; s/^Done \([0-9]*\) runs.*/\1/p' "$WORK/$target.log" | head -1)
    printf '%-12s %-7s %12s inputs\n' "$target" "$verdict" "${count:-?}"
    if [[ $verdict == FAILED ]]; then
        local find
        find=$(sed -n 's/.*Test unit written to //p' "$WORK/$target.log" | tail -1)
        grep -aE -A2 "panicked at|ERROR: libFuzzer" "$WORK/$target.log" | cut -c1-600 | sed 's/^/    /' || true
        echo "    again: ${PROGRAMS#"$PWD"/}/$target ${find#"$PWD"/}"
        echo "    smaller: the same with -minimize_crash=1 -runs=100000; keep it: tests/fuzz/corpus/$target"
        return 1
    fi
}
export -f fuzz
export MINUTES=$minutes PROGRAMS=$programs WORK
printf '%s\n' "${targets[@]}" | xargs --max-procs="$(nproc)" -I{} bash -c 'set -euo pipefail; fuzz {}' || {
    echo "make fuzz: a target has failed" >&2
    exit 1
}
