if [ -e "$base" ] || [ -L "$base" ]; then
    [ -d "$base" ] && [ -w "$base" ] || say home "$base"
else
    [ -d "$HOME" ] && [ -w "$HOME" ] || say home "$HOME"
fi
command -v setsid >/dev/null 2>&1 || command -v perl >/dev/null 2>&1 || say setsid
# The first line is the heading.
for place in "$HOME" "$directory"; do
    [ -n "$place" ] && [ -d "$place" ] && df -Pk "$place" 2>/dev/null
done | while read -r device blocks used free share mount; do
    say disk "$free" "$mount"
done
say shell
