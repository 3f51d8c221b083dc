exec 3<"$run/out" 4<"$run/err" || { say taken; exit 0; }
# The kernel keeps the file offset: a byte is never read twice.
[ "$out" = 0 ] || dd bs=1 count=0 skip="$out" <&3 >/dev/null 2>&1
[ "$err" = 0 ] || dd bs=1 count=0 skip="$err" <&4 >/dev/null 2>&1
say following
say following >&2
long=1
sleep 0.01 2>/dev/null && long=0.2
turn=0
missed=0
while :; do
    over=
    # Checked before the last read: the output is written before the status.
    [ -e "$run/status" ] && over=yes
    cat <&3
    cat <&4 >&2
    [ -z "$over" ] || break
    turn=$((turn + 1))
    if [ "$turn" -gt 40 ] || [ "$long" = 1 ]; then
        sleep "$long"
    else
        sleep 0.05
    fi
    [ $((turn % 5)) = 0 ] || continue
    # A write fails once the connection has ended.
    say . || exit 0
    if ! [ -d "$run/begun" ]; then
        [ "$turn" -lt 200 ] || ! forbid "$run" || { say never; exit 0; }
    elif ! lives "$run" && ! [ -e "$run/status" ]; then
        missed=$((missed + 1))
        [ "$missed" -lt 2 ] || break
    fi
done
cat <&3
cat <&4 >&2
code=
{ read -r code <"$run/status"; } 2>/dev/null
if [ -z "$code" ]; then
    say killed
elif [ -e "$run/prepared" ]; then
    say ended "$code"
elif [ -e "$run/no-environment" ]; then
    say unprepared "$code" no-environment
else
    say unprepared "$code"
fi
