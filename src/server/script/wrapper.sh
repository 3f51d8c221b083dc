trap : HUP INT TERM
umask 077
line=
{ read -r line <"/proc/$$/stat"; } 2>/dev/null
run=$1 theirs=$2 shell=$3 boot=$4
set -- ${line##*) }
start=
[ $# -lt 20 ] || start=${20}
printf '%s\n' "$$ $start $boot" >"$run/pid" || exit
mkdir "$run/begun" || exit
# Only this process holds descriptor 9, so its end is that of the pipe `alive`.
(umask "$theirs" && exec $shell -c 'eval "$(cat)"' bastion-migrate "$run") >>"$run/out" 2>>"$run/err" 9>&-
code=$?
# Others wait for the end: no process is started without need.
for each in "$run"/file.*; do
    [ ! -e "$each" ] || rm -f "$each"
done
printf '%s\n' "$code" >"$run/status.new"
mv "$run/status.new" "$run/status"
