if command -v setsid >/dev/null 2>&1; then
    detach() { exec setsid "$@"; }
elif command -v perl >/dev/null 2>&1; then
    detach() { exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@"; }
else
    say setsid
    exit 0
fi
for each in "$own"/r.*; do
    # A command that still runs would not be followed any more.
    lives "$each" && { say busy; exit 0; }
    rm -rf "$each"
done
mkdir "$own/$run" 2>/dev/null || { say taken; exit 0; }
run=$own/$run
{
    printf '%s\n' "$title" >"$run/title" && printf '%s\n' "$label" >"$run/label" && : >"$run/out" && : >"$run/err"
} 2>/dev/null || { say home "$run"; exit 0; }
shell=sh
# The login shell has read its start-up file.
command -v bash >/dev/null 2>&1 && shell='bash --norc'
# Sent through a pipe, so that its secrets appear in no process list and on no disk. Started in the background of a
# subshell, so that it is orphaned at once.
launch() {
    (printf '%s' "$work" | (detach sh -c "$wrapper" bastion-migrate "$run" "$theirs" "$shell" "$boot") >/dev/null 2>&1 &)
}
# Pass on each line, unless another connection has ruled it out. The input of the command ends with the connection.
pass_lines() {
    count=0
    while read -r input; do
        count=$((count + 1))
        mkdir "$run/line.$count" 2>/dev/null || exit
        printf '%s\n' "$input"
    done
}
if [ "$asks" = yes ]; then
    : >"$run/asks"
    exec 3<&0
    (pass_lines <&3 2>/dev/null | (exec 4<&0 && launch) &)
else
    launch
fi
