[ -d "$own" ] || { say taken; exit 0; }
run=$own/$run
mkdir "$run" 2>/dev/null
if forbid "$run" || [ -e "$run/void" ]; then
    say never
    exit 0
fi
