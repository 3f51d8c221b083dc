# prisma migrate status, and the files of the pending migrations. The arguments are the migrations in the ledger.
mark='{mark}'
mark="${mark%-*}${mark#*-}"
count=0

# Prints a JSON object of one line.
print_record() {
    { cat; echo; } | fold -w 8000 | sed "s/^/$mark /"
    echo "$mark"
}

print_file() {
    # Bytes of SQL.
    if [ "$(wc -c <"$2")" -gt 4194304 ]; then
        printf '{"name":"%s","everything":"its SQL is too long to be shown"}' "$1" | print_record
        return
    fi
    whole=true
    if grep -Eiq '(^|;)[[:space:]]*(begin|commit|start[[:space:]]+transaction)[[:space:];]|concurrently|(^|;)[[:space:]]*vacuum' "$2"; then
        whole=false
    fi
    { printf '{"name":"%s","whole":%s,"base64":"' "$1" "$whole" && base64 <"$2" | tr -d '\r\n' && printf '"}'; } | print_record
}

status=0
npx prisma migrate status || status=$?
if [ ! -d prisma/migrations ]; then
    echo '{"everything":"there is no directory prisma/migrations where the tool runs"}' | print_record
    exit $status
fi
for file in prisma/migrations/*/migration.sql; do
    name="${file%/migration.sql}"
    name="${name##*/}"
    # A name with other characters would not be a name in JSON.
    case "$name" in *[!A-Za-z0-9_.-]*) continue ;; esac
    case " $* " in *" $name "*) continue ;; esac
    [ -f "$file" ] || continue
    print_file "$name" "$file"
    count=$((count + 1))
done
printf '{"scripts":%s}' "$count" | print_record
exit $status
