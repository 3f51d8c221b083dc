if [ -n "$directory" ] && ! (cd -- "$directory") 2>/dev/null; then
    # The last part of the way that is there.
    place=$directory
    while ! [ -e "$place" ] && ! [ -L "$place" ]; do
        case $place in
            /*/*) place=${place%/*} ;;
            /*) place=/ ;;
            */*) place=${place%/*} ;;
            *) place=. ;;
        esac
    done
    if [ -d "$place" ] && { [ "$place" = "$directory" ] || ! [ -x "$place" ]; }; then
        say directory forbidden "$place"
    elif [ "$place" = "$directory" ]; then
        say directory other
    else
        say directory missing
    fi
    exit 0
fi
if command -v setsid >/dev/null 2>&1; then
    detach() { exec setsid "$@"; }
elif command -v perl >/dev/null 2>&1; then
    detach() { exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@"; }
else
    say setsid
    exit 0
fi
for each in "$own"/r.*; do
    # Nobody would hear of it any more.
    lives "$each" && { say busy; exit 0; }
    rm -rf "$each"
done
mkdir "$own/$run" 2>/dev/null || { say taken; exit 0; }
run=$own/$run
{
    printf '%s\n' "$title" >"$run/title" && printf '%s\n' "$label" >"$run/label" && : >"$run/out" && : >"$run/err"
} 2>/dev/null || { say home "$run"; exit 0; }
shell=sh
# Its start-up file was read by the login shell.
command -v bash >/dev/null 2>&1 && shell='bash --norc'
# By a pipe, so that what is secret in it stands in no list of processes and on no disk. In the subshell's background it is
# nobody's child.
(printf '%s' "$work" | (detach sh -c "$wrapper" bastion-migrate "$run" "$theirs" "$shell" "$boot") >/dev/null 2>&1 &)
