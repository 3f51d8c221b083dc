# The words of these scripts, one to a line. Who does not know the token can't say them.
say() { printf '\001%s %s\n' "$token" "$*"; }

unset CDPATH
base=$HOME/.bastion-migrate
slot=$base/$name
own=$slot/$owner
theirs=$(umask)
umask 077

boot=
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null

# What the kernel says of a process (proc_pid_stat(5)): state, group, session, start. The name, in parentheses, may be anything.
stat_of() {
    line=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    state=$1 group=$3 session=$4 start=${20}
}

# Whether this very process lives: the number alone may be another's by now.
same() {
    [ -n "$1" ] && [ "$3" = "$boot" ] || return 1
    [ -r /proc/self/stat ] || { kill -0 "$1" 2>/dev/null; return; }
    stat_of "$1" && [ "$start" = "$2" ] && [ "$state" != Z ]
}

# The living processes of a session, in $found.
members() {
    found=
    [ "$3" = "$boot" ] || return
    if ! [ -r /proc/self/stat ]; then
        kill -0 "-$1" 2>/dev/null && found=-$1
        return
    fi
    # A number that is a session's is given to nobody else.
    stat_of "$1" && [ "$start" != "$2" ] && return
    for entry in /proc/[0-9]*; do
        stat_of "${entry#/proc/}" && [ "$session" = "$1" ] && [ "$state" != Z ] && found="$found ${entry#/proc/}"
    done
}

# pid, start and boot of a file that has them.
who() {
    pid= start= since=
    { read -r pid start since <"$1"; } 2>/dev/null
}

# Whether the work of a run goes on.
lives() {
    [ -d "$1/begun" ] && ! [ -e "$1/void" ] && ! [ -e "$1/status" ] && who "$1/pid" || return 1
    same "$pid" "$start" "$since" && return
    who "$1/pid"
    members "$pid" "$start" "$since"
    [ -n "$found" ]
}

# Who holds the slot under this name.
holder() { who "$1/holder.${1##*/}" && same "$pid" "$start" "$since"; }

# Whether a slot is in use: by who holds it, or by what runs in it.
alive() {
    holder "$1" && return
    for each in "$1"/r.*; do
        lives "$each" && return
    done
    return 1
}

# Says who we are: in a slot that is to become ours, before it does.
sign() {
    stat_of $$ || start=
    { printf '%s\n%s\n' "$$ $start $boot" "$label" >"$1"; } 2>/dev/null
}

# A run that has not begun never will: who makes this directory first decides.
forbid() { mkdir "$1/begun" 2>/dev/null && : >"$1/void"; }
