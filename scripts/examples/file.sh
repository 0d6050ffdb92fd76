#!/bin/sh
# Sends a file of events, one JSON object a line, each as a request of its own.
#
#   sh file.sh events.ndjson
#   grep '"level":"error"' events.ndjson | sh file.sh
#
# A refused event is shown with its line and the rest goes on. When the instance can't be reached or
# has no room, the loop stops and says with which line to go on: nothing is skipped.
# Exit status: 0 all stored, 1 some refused, 64 usage, 75 stopped.
set -eu

url=${LOGS_INGEST_URL:-http://127.0.0.1:8000}
name=${1:--}
if [ "$name" != - ]; then
    [ -r "$name" ] || { echo "file.sh: cannot read '$name'" >&2; exit 64; }
    exec <"$name"
elif [ -t 0 ]; then
    echo 'usage: sh file.sh FILE, or events on standard input' >&2
    exit 64
fi

number=0
stored=0
refused=0
while IFS= read -r event || [ -n "$event" ]; do
    number=$((number + 1))
    [ -n "$event" ] || continue

    # The answer's body, then its status on a line of its own; 000 when no answer came.
    answer=$(printf '%s' "$event" | curl --silent --show-error --max-time 15 \
        --header 'Content-Type: application/json' --data-binary @- \
        --write-out '\n%{http_code}' "$url/api/logs/ingest") || true
    status=$(printf '%s\n' "$answer" | tail -n 1)
    body=$(printf '%s\n' "$answer" | sed '$d')

    case $status in
    202) stored=$((stored + 1)) ;;
    413 | 422)
        refused=$((refused + 1))
        echo "line $number refused ($status): $body" >&2
        ;;
    *)
        echo "stopped at line $number of $name ($status): $body" >&2
        echo "$stored stored, $refused refused; go on with: tail -n +$number FILE | sh file.sh" >&2
        exit 75
        ;;
    esac
done

echo "$stored stored, $refused refused"
[ "$refused" -eq 0 ]
