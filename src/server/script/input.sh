# Pass on each line for the command, unless another connection has ruled it out, and read on until the input ends: with
# the connection, or when all output has arrived. Then nothing follows the command any more.
read_input() {
    # `start.sh` opens it for the wrapper of the command.
    exec 9>&-
    trap '' PIPE
    count=0
    while read -r message input; do
        count=$((count + 1))
        if [ "$message" = line ] && mkdir "$run/line.$count" 2>/dev/null; then
            printf '%s\n' "$input"
        else
            # The command's input ends.
            exec >/dev/null
        fi
    done
    kill $$ 2>/dev/null
    { read -r tails <"$run/tails.$$"; } 2>/dev/null && kill $tails 2>/dev/null
}
