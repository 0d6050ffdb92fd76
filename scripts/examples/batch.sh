#!/bin/sh
# Sends a file of events, one JSON object a line, as one request. Made smaller by gzip on its way.
#
#   sh batch.sh events.ndjson
#
# All of a request is answered at once: 202 all stored, 207 all but the ones that `errors` names, 422 none.
# The same Idempotency-Key goes with every try, so that a try whose answer was lost is not stored twice.
# At most 10,000 events and 8 MiB (unpacked) fit into one request; `logs-ingest send` takes files of any length.
# Exit status: 0 all stored, 1 some or all refused, 64 usage, 75 not stored: send it again later.
set -eu

url=${LOGS_INGEST_URL:-http://127.0.0.1:8000}
[ $# -eq 1 ] && [ -r "$1" ] || { echo 'usage: sh batch.sh FILE' >&2; exit 64; }
key="batch-$(date +%s)-$$"

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --data-binary, not --data: that one takes the line ends out of a file.
status=$(gzip -c "$1" | curl --silent --show-error --max-time 60 --retry 5 --retry-all-errors --retry-max-time 120 \
    --header 'Content-Type: application/x-ndjson' --header 'Content-Encoding: gzip' \
    --header "Idempotency-Key: $key" --data-binary @- --output "$answer" --write-out '%{http_code}' \
    "$url/api/logs/ingest/batch") || true

cat "$answer"
echo
case $status in
202) exit 0 ;;
207 | 413 | 422) exit 1 ;;
*) echo "batch.sh: not stored (status $status)" >&2; exit 75 ;;
esac
