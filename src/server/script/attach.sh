[ -d "$own" ] || { say taken; exit 0; }
run=$own/$run
mkdir "$run" 2>/dev/null
if forbid "$run" || [ -e "$run/void" ]; then
    say never
    exit 0
fi
# The input ended with the former connection. The first one to make this directory decides whether the last line came.
if [ -e "$run/asks" ] && mkdir "$run/line.$lines" 2>/dev/null; then
    say unconfirmed
    exit 0
fi
exec 3<&0
read_input <&3 >/dev/null 2>&1 &
