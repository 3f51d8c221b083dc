if [ -n "$directory" ] && ! (cd -- "$directory") 2>/dev/null; then
    # Find the deepest part of the path that exists.
    place=$directory
    while ! [ -e "$place" ] && ! [ -L "$place" ]; do
        case $place in
            /*/*) place=${place%/*} ;;
            /*) place=/ ;;
            */*) place=${place%/*} ;;
            *) place=. ;;
        esac
    done
    if [ -d "$place" ] && { [ "$place" = "$directory" ] || ! [ -x "$place" ]; }; then
        say directory forbidden "$place"
    elif [ "$place" = "$directory" ]; then
        say directory other
    else
        say directory missing
    fi
    exit 0
fi
