# Makes a cluster in memory and serves it until standard input ends, whose first line is the password. The parameters are
# the major version that is wanted, the address and the port.

fail() { printf '%s\n' "$*"; exit 1; }

IFS= read -r password || fail 'there is no password'
data=/bastion-migrate/data
for bin in "/usr/lib/postgresql/$1/bin" "/usr/pgsql-$1/bin" "$(dirname "$(command -v initdb || echo /)")" /usr/local/pgsql/bin; do
    if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ]; then break; fi
    bin=
done
[ -n "$bin" ] || fail 'the image has no initdb and no postgres'

umask 077
printf '%s\n' "$password" >/bastion-migrate/password
init() {
    rm -rf "$data"
    LC_ALL=C "$bin/initdb" --pgdata="$data" --username=bastion_migrate --pwfile=/bastion-migrate/password \
        --auth=scram-sha-256 --encoding=UTF8 --no-sync --locale="$1" 2>&1 >/dev/null
}
# Not every C library has the first one.
message=$(init C.UTF-8) || message=$(init C) || fail "initdb fails: $message"
rm /bastion-migrate/password
echo 'host all all all scram-sha-256' >"$data/pg_hba.conf"

exec 3<&0
# The end of our starter ends all: process 1 alone is left by the signal, and ends behind them.
{ cat <&3 >/dev/null; kill -KILL -1; } &
# The log shows rows, so nothing of it is passed on once the server is ready.
LC_ALL=C "$bin/postgres" -D "$data" -c listen_addresses="$2" -p "$3" -c unix_socket_directories= \
    -c lc_messages=C -c log_destination=stderr -c logging_collector=off -c log_min_messages=log \
    -c fsync=off -c synchronous_commit=off -c autovacuum=off -c max_wal_size=256MB -c min_wal_size=32MB \
    -c max_locks_per_transaction=1024 -c shared_buffers=256MB -c max_connections=50 3<&- </dev/null 2>&1 | {
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in *'database system is ready to accept connections'*) break ;; esac
    done
    exec cat >/dev/null
}
