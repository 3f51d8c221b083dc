tries=0
waited=0
taken=
while :; do
    mkdir -p "$base" 2>/dev/null && chmod 700 "$base" 2>/dev/null && [ -w "$base" ] || { say home "$base"; exit 0; }
    current=
    for each in "$slot"/o.*; do
        [ -d "$each" ] && current=${each##*/}
    done
    if [ "$current" = "$owner" ]; then
        # The slot is ours already: this is another connection.
        holder "$own" && kill "$pid" 2>/dev/null
        sign "$own/holder.$owner" && break
    elif [ "$again" = yes ]; then
        say taken
        exit 0
    elif [ -z "$current" ]; then
        # Moved into place as a whole; if the slot exists already, it lands inside the slot and is removed again.
        fresh=$base/n.$owner
        mkdir "$fresh" "$fresh/$owner" 2>/dev/null && sign "$fresh/$owner/holder.$owner" && mv "$fresh" "$slot" 2>/dev/null
        [ -d "$own" ] && break
        rm -rf "$fresh" "$slot/n.$owner"
        rmdir "$slot" 2>/dev/null
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || { say home "$base"; exit 0; }
    elif alive "$slot/$current"; then
        by=
        { read -r by && read -r by; } <"$slot/$current/holder.$current" 2>/dev/null
        holder "$slot/$current" || pid=
        say held "$pid" "$by"
        [ "$waited" -lt "$wait" ] || { say refused; exit 0; }
        waited=$((waited + 1))
        sleep 1
    elif sign "$slot/$current/holder.$owner" && mv "$slot/$current" "$own" 2>/dev/null; then
        taken=yes
        break
    fi
done
# Remains of runs that died between two steps.
for each in "$base"/[gn].*/o.*; do
    [ -d "$each" ] && ! alive "$each" && rm -rf "${each%/*}"
done
if [ -n "$taken" ]; then
    for each in "$own"/r.*; do
        [ -d "$each" ] || continue
        code=
        { read -r code <"$each/status"; } 2>/dev/null
        if [ -e "$each/asks" ] && ! [ -e "$each/line.1" ]; then
            # It has listed what there is to do, and nothing else.
            say left never
        elif [ -n "$code" ]; then
            say left finished "$code"
        elif forbid "$each" || [ -e "$each/void" ]; then
            say left never
        else
            say left killed
        fi
        for part in label title out err; do
            say part "$part"
            tail -c 16000 "$each/$part" 2>/dev/null
        done
        rm -rf "$each"
    done
fi
say entered
# Hold the slot until the connection ends.
exec cat >/dev/null
