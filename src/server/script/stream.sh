# Run a script whose output is a stream of bytes, and end it with the connection. What the login prints comes before.
say stream
exec 3<&0
shell=sh
command -v bash >/dev/null 2>&1 && shell='bash --norc'
umask "$theirs"
# Sent through a pipe, so that its secrets appear in no process list and on no disk.
printf '%s' "$work" | $shell -c 'eval "$(cat)"' bastion-migrate &
child=$!
# Nothing is sent after the script: reading ends with the connection.
{ read -r line <&3; kill -TERM "$child"; sleep 2; kill -KILL "$child"; } >/dev/null 2>&1 &
watcher=$!
wait "$child"
code=$?
kill -KILL "$watcher" 2>/dev/null
exit "$code"
