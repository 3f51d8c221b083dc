#!/usr/bin/env bash
# A wrapper of rustc that removes the fuzzer's instrumentation for packages that are not fuzzed: with it, the largest of them,
# which no target uses, takes longer to compile than all the rest.
set -euo pipefail

readonly INSTRUMENTED=" bastion_migrate squawk_lexer ssh_key aho_corasick percent_encoding splitter classifier redactor backend \
startup url known_hosts listings commands outputs "

words=("$@") crate=
for (( i = 0; i < $#; i++ )); do
    if [[ ${words[i]} == --crate-name ]]; then crate=${words[i + 1]}; fi
done
if [[ -n $crate && $INSTRUMENTED != *" $crate "* ]]; then
    kept=()
    for word in "${words[@]}"; do
        if [[ $word != -C*sancov-module && $word != -C*sanitizer-coverage* ]]; then kept+=("$word"); fi
    done
    words=("${kept[@]}")
fi
exec "${words[@]}"
