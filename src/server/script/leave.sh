for each in "$own"/r.*; do
    lives "$each" && { say busy; exit 0; }
done
leaving=o.$run
if holder "$own"; then kill "$pid" 2>/dev/null; fi
# No other run takes a slot that a living process has signed.
if sign "$own/holder.$leaving" && mv "$own" "$slot/$leaving" 2>/dev/null && mv "$slot" "$base/g.$run" 2>/dev/null; then
    rm -rf "$base/g.$run"
fi
rmdir "$base" 2>/dev/null
say over
