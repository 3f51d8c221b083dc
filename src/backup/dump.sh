# Dump a database, check the dump while it is written, and report how all of that ended. The arguments of pg_dump are the
# parameters; `receiver` is a command that reads the dump, and without it the dump goes to standard output.

# Sends a message. Only a program that knows the token can send one.
report() { printf '%s %s\n' "$token" "$*" >&2; }

programs='pg_dump pg_restore mktemp mkfifo tee sha256sum sed wc'
[ -z "$receiver" ] || programs="$programs setsid"
for program in $programs; do
    command -v "$program" >/dev/null 2>&1 || { report missing "$program"; exit 1; }
done

reader=
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# A receiver that met the end of a broken dump would keep it: it goes first.
abandon() {
    trap '' TERM HUP INT
    [ -z "$reader" ] || kill -KILL "-$reader" 2>/dev/null
    kill -KILL "$dump" 2>/dev/null
    exit 143
}
trap abandon TERM HUP INT

# libpq reads the database's CA from a file.
if [ -n "${BASTION_MIGRATE_CA-}" ]; then
    printf '%s\n' "$BASTION_MIGRATE_CA" >"$work/ca.pem"
    export PGSSLROOTCERT="$work/ca.pem"
fi

# And the client certificate with its key, which it refuses if others can read it.
if [ -n "${BASTION_MIGRATE_KEY-}" ]; then
    (umask 077; printf '%s\n' "$BASTION_MIGRATE_CERT" >"$work/client.crt"; printf '%s\n' "$BASTION_MIGRATE_KEY" >"$work/client.key")
    export PGSSLCERT="$work/client.crt" PGSSLKEY="$work/client.key"
    unset BASTION_MIGRATE_KEY
fi

version=$(pg_dump --version)
report version "$version"
number=$(printf '%s\n' "$version" | sed 's/^[^0-9]*\([0-9][0-9]*\).*/\1/')
[ "$number" -ge "$major" ] 2>/dev/null || { report old "$number"; exit 1; }
# pg_dump knows zstd since version 16, if it was built with it; it looks before it connects.
compression=
if [ "$number" -ge 16 ]; then
    answer=$(PGHOSTADDR='' LC_ALL=C pg_dump --format=custom --compress=zstd --no-password --host=/ 2>&1)
    case $answer in *'not support compression'*) ;; *) compression=--compress=zstd ;; esac
fi

mkfifo "$work/dump" "$work/check" "$work/list" "$work/sum" "$work/size" "$work/out" || exit 1
if [ -n "$receiver" ]; then
    setsid sh -c "$receiver" <"$work/out" >&2 &
    reader=$!
    # Open until the dump is proven.
    exec 9>"$work/out"
fi
# To read all of it is the check: a list is complete in a dump that is cut off behind it.
{ LC_ALL=C pg_restore --file=/dev/null; code=$?; cat >/dev/null; exit "$code"; } \
    <"$work/check" 2>"$work/check.err" 9>&- &
check=$!
{ LC_ALL=C pg_restore --list; code=$?; cat >/dev/null; exit "$code"; } \
    <"$work/list" >"$work/toc" 2>"$work/list.err" 9>&- &
list=$!
sha256sum <"$work/sum" >"$work/digest" 9>&- &
sum=$!
wc -c <"$work/size" >"$work/bytes" 9>&- &
size=$!
LC_ALL=C pg_dump "$@" $compression >"$work/dump" 9>&- &
dump=$!
if [ -n "$receiver" ]; then
    tee "$work/check" "$work/list" "$work/sum" "$work/size" <"$work/dump" >&9 &
else
    tee "$work/check" "$work/list" "$work/sum" "$work/size" <"$work/dump" &
fi
pump=$!

wait "$dump"; dumped=$?
wait "$pump"; pumped=$?
wait "$check"; checked=$?
wait "$list"; listed=$?
wait "$sum"
wait "$size"
received=0
if [ -n "$receiver" ]; then
    [ "$dumped $pumped $checked $listed" = '0 0 0 0' ] || kill -KILL "-$reader" 2>/dev/null
    exec 9>&-
    wait "$reader"; received=$?
fi
# Without a dump, the errors of its check mean nothing.
[ "$dumped" -ne 0 ] || cat "$work/check.err" "$work/list.err" >&2
sed -n "s/^[0-9]*; [0-9]* [0-9]* TABLE DATA /$token data /p" "$work/toc" >&2
digest=
read -r digest rest <"$work/digest"
read -r bytes rest <"$work/bytes"
report end "$dumped $pumped $checked $listed $received $bytes $digest"
