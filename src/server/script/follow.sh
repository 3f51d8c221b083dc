[ -r "$run/out" ] && [ -r "$run/err" ] || { say taken; exit 0; }
say following
say following >&2
exec 3<&-
tails=
events=
if [ -p "$run/alive" ] && [ -r /proc/self/stat ]; then
    # Others look for new output once a second.
    case $(tail --version 2>/dev/null </dev/null) in *GNU*) events=yes ;; esac
fi
if [ -n "$events" ]; then follow_output; else poll_output; fi
# Reports the end; only the output up to here is waited for.
if ! [ -e "$run/status" ] && { forbid "$run" || [ -e "$run/void" ]; }; then
    say never
else
    code=
    { read -r code <"$run/status"; } 2>/dev/null
    set -- $(cd "$run" && wc -c out err)
    say sizes "$1" "$3"
    if [ -z "$code" ]; then
        say killed
    elif [ -e "$run/prepared" ]; then
        say ended "$code"
    elif [ -e "$run/no-environment" ]; then
        say unprepared "$code" no-environment
    else
        say unprepared "$code"
    fi
fi
# Until the input ends, or until the output can't be sent any more: then another connection sends the rest.
wait $tails
