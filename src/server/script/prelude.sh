# Send a message of these scripts, one to a line. Only a program that knows the token can send one.
say() { printf '\001%s %s\n' "$token" "$*"; }

unset CDPATH
base=$HOME/.bastion-migrate
slot=$base/$name
own=$slot/$owner
theirs=$(umask)
umask 077

boot=
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null

# Read a process's state, group, session and start from the kernel (proc_pid_stat(5)). The name, in parentheses, may
# contain anything.
stat_of() {
    line=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    state=$1 group=$3 session=$4 start=${20}
}

# Test whether this very process lives: its number may belong to another one by now.
same() {
    [ -n "$1" ] && [ "$3" = "$boot" ] || return 1
    [ -r /proc/self/stat ] || { kill -0 "$1" 2>/dev/null; return; }
    stat_of "$1" && [ "$start" = "$2" ] && [ "$state" != Z ]
}

# List the living processes of a session in $found.
members() {
    found=
    [ "$3" = "$boot" ] || return
    if ! [ -r /proc/self/stat ]; then
        kill -0 "-$1" 2>/dev/null && found=-$1
        return
    fi
    # The kernel does not reuse a number while it is a session's.
    stat_of "$1" && [ "$start" != "$2" ] && return
    for entry in /proc/[0-9]*; do
        stat_of "${entry#/proc/}" && [ "$session" = "$1" ] && [ "$state" != Z ] && found="$found ${entry#/proc/}"
    done
}

# Read pid, start and boot from a file.
who() {
    pid= start= since=
    { read -r pid start since <"$1"; } 2>/dev/null
}

# Test whether a run's command is still running.
lives() {
    [ -d "$1/begun" ] && ! [ -e "$1/void" ] && ! [ -e "$1/status" ] && who "$1/pid" || return 1
    same "$pid" "$start" "$since" && return
    who "$1/pid"
    members "$pid" "$start" "$since"
    [ -n "$found" ]
}

# Test whether the holder of this slot lives.
holder() { who "$1/holder.${1##*/}" && same "$pid" "$start" "$since"; }

# Test whether a slot is in use: by its holder, or by a command that runs in it.
alive() {
    holder "$1" && return
    for each in "$1"/r.*; do
        lives "$each" && return
    done
    return 1
}

# Sign a slot with our process, before it becomes ours.
sign() {
    stat_of $$ || start=
    { printf '%s\n%s\n' "$$ $start $boot" "$label" >"$1"; } 2>/dev/null
}

# Keep a run that has not started from ever starting: the first one to make this directory decides.
forbid() { mkdir "$1/begun" 2>/dev/null && : >"$1/void"; }
