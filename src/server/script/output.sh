# Send the output as it is written, and return when the command has ended: `tail` waits for events of the kernel, and
# the pipe's end is that of the command. Twice a second it looks whether this shell is still there, or for output where
# the kernel reports no events of the file, as on NFS.
follow_output() {
    # Opened for both first: that does not wait for the other side.
    exec 5<>"$run/alive" 6<"$run/alive" 5>&-
    # A shell may report the end of its children.
    exec 4>&2 2>/dev/null
    tail --pid=$$ -s 0.5 -c "+$((out + 1))" -f "$run/out" &
    tails=$!
    # If one of them is ended, so is the other.
    (
        tail --pid=$$ -s 0.5 -c "+$((err + 1))" -f "$run/err" >&4 &
        printf '%s\n' "$tails $!" >"$run/tails.$$"
        wait
        kill "$tails"
    ) >/dev/null &
    exec 4>&-
    read -r line <&6
    # Its processes may have outlived its wrapper.
    while ! [ -e "$run/status" ] && lives "$run"; do
        sleep 1
    done
}

# The same where nothing but the clock tells when to look.
poll_output() {
    exec 4<"$run/out" 5<"$run/err"
    # The kernel keeps the file offset: a byte is never read twice.
    [ "$out" = 0 ] || dd bs=1 count=0 skip="$out" <&4 >/dev/null 2>&1
    [ "$err" = 0 ] || dd bs=1 count=0 skip="$err" <&5 >/dev/null 2>&1
    ends=
    # Not every shell has a time limit for `read`, and in fractions.
    if [ -p "$run/alive" ] && [ -z "$( (read -t 0.1 -r line </dev/null) 2>&1)" ]; then
        exec 7<>"$run/alive" 6<"$run/alive" 7>&-
        ends=yes
    fi
    long=1
    sleep 0.01 2>/dev/null && long=0.2
    turn=0
    missed=0
    while :; do
        over=
        # Checked before the last read: the output is written before the status.
        [ -e "$run/status" ] && over=yes
        cat <&4
        cat <&5 >&2
        [ -z "$over" ] || break
        turn=$((turn + 1))
        if [ "$turn" -gt 40 ] || [ "$long" = 1 ]; then pause "$long"; else pause 0.05; fi
        [ $((turn % 5)) = 0 ] || continue
        if ! [ -d "$run/begun" ]; then
            [ "$turn" -lt 200 ] || break
        elif ! lives "$run" && ! [ -e "$run/status" ]; then
            missed=$((missed + 1))
            [ "$missed" -lt 2 ] || break
        fi
    done
    cat <&4
    cat <&5 >&2
}

# Sleep for this time, or until the command has ended.
pause() {
    [ -n "$ends" ] || { sleep "$1"; return; }
    read -t "$1" -r line <&6
    # Without the wrapper reading takes no time.
    [ -e "$run/status" ] || ! [ -e "$run/pid" ] || { who "$run/pid" && same "$pid" "$start" "$since"; } || ends=
}
