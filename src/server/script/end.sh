run=$own/$run
mkdir "$run" 2>/dev/null
if ! [ -d "$own" ] || forbid "$run" || [ -e "$run/void" ]; then
    say over
    exit 0
fi
nap=1
sleep 0.01 2>/dev/null && nap=0.1
who "$run/pid"
leader=$pid began=$start
remain() { members "$leader" "$began" "$since"; [ -n "$found" ]; }
if remain; then
    # TERM goes to each process only once: some programs take a second one for "at once".
    kill -TERM "-$leader" 2>/dev/null
    for each in $found; do
        stat_of "$each" && [ "$group" != "$leader" ] && kill -TERM "$each" 2>/dev/null
    done
fi
turn=0
while remain && [ "$turn" -lt "$grace" ]; do
    turn=$((turn + 1))
    sleep "$nap"
    # A turn counts as a tenth of a second.
    [ "$nap" = 0.1 ] || turn=$((turn + 9))
done
turn=0
while remain && [ "$turn" -lt 50 ]; do
    turn=$((turn + 1))
    kill -KILL $found 2>/dev/null
    sleep "$nap"
done
if remain; then say stubborn $found; else say over; fi
