# flyway info, and the files of the pending migrations. The arguments are the migrations in the ledger.
mark='{mark}'
mark="${mark%-*}${mark#*-}"

# Prints a JSON object of one line.
print_record() {
    { cat; echo; } | fold -w 8000 | sed "s/^/$mark /"
    echo "$mark"
}

print_file() {
    reason=
    # Bytes of SQL.
    if [ "$(wc -c <"$2")" -gt 4194304 ]; then
        reason='its SQL is too long to be shown'
    elif grep -q '\${' "$2"; then
        reason='its file has placeholders, which Flyway fills in'
    fi
    if [ -n "$reason" ]; then
        printf '{"name":"%s","everything":"%s"}' "$1" "$reason" | print_record
        return
    fi
    whole=true
    if grep -Eiq 'concurrently|(^|;)[[:space:]]*vacuum|(^|;)[[:space:]]*(begin|commit|start[[:space:]]+transaction)[[:space:];]' "$2" ||
        grep -Eiq '^[[:space:]]*executeInTransaction[[:space:]]*=[[:space:]]*false' "$2.conf" 2>/dev/null; then
        whole=false
    fi
    { printf '{"name":"%s","whole":%s,"base64":"' "$1" "$whole" && base64 <"$2" | tr -d '\r\n' && printf '"}'; } | print_record
}

# As in Flyway's own order: the variable, the file, the default.
find_locations() {
    if [ -n "${FLYWAY_LOCATIONS-}" ]; then
        echo "$FLYWAY_LOCATIONS"
        return
    fi
    for conf in flyway.conf conf/flyway.conf /flyway/conf/flyway.conf; do
        found="$(sed -n 's/^[[:space:]]*flyway\.locations[[:space:]]*=[[:space:]]*//p' "$conf" 2>/dev/null | tail -n 1)"
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
    done
    if [ -d sql ]; then echo sql; else echo /flyway/sql; fi
}

print_files_in() {
    find "$1" -type f -name '*.sql' | sort | while IFS= read -r file; do
        base="${file##*/}"
        title="${base#*__}"
        title="$(echo "${title%.sql}" | tr _ ' ')"
        case "$base" in
        V*__*)
            version="${base#V}"
            name="$(echo "${version%%__*}" | tr _ .) $title"
            ;;
        R__*) name="$title" ;;
        *) continue ;;
        esac
        # A name with other characters would not be a name in JSON.
        case "$name" in *[!A-Za-z0-9_.\ -]*) continue ;; esac
        if is_applied "$name" "$@"; then continue; fi
        print_file "$name" "$file"
    done
}

is_applied() {
    wanted="$1"
    # The name and the directory come before the migrations.
    shift 2
    # A repeatable migration runs again when its file has changed.
    case "$wanted" in [0-9]*) ;; *) return 1 ;; esac
    for applied; do
        if [ "$applied" = "$wanted" ]; then return 0; fi
    done
    return 1
}

status=0
flyway info || status=$?
scripts="$(
    find_locations | tr , '\n' | while IFS= read -r location; do
        location="${location#filesystem:}"
        case "$location" in *:* | *\**) continue ;; esac
        if [ -d "$location" ]; then print_files_in "$location" "$@"; fi
    done
)"
if [ -z "$scripts" ]; then
    echo '{"everything":"no file of a migration was found where the tool runs; FLYWAY_LOCATIONS and flyway.conf are read, and the default is the directory sql"}' | print_record
    exit $status
fi
printf '%s\n' "$scripts"
count="$(printf '%s\n' "$scripts" | grep -cx "$mark")"
printf '{"scripts":%s}' "$count" | print_record
exit $status
