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
exec 3<&0
begin() {
    if [ "$asks" = yes ]; then
        : >"$run/asks"
        read_input <&3 2>/dev/null | (exec 4<&0 3<&- && launch) &
    else
        launch 3<&-
        read_input <&3 >/dev/null 2>&1 &
    fi
}
# The wrapper of the command keeps descriptor 9, and no other process does: reading `alive` ends with the wrapper,
# however that ends.
if mkfifo "$run/alive" 2>/dev/null; then begin 9<>"$run/alive"; else begin; fi
