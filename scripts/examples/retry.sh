#!/bin/sh
# Sends one event and repeats it until it is stored, for about a minute: through a restart of the
# instance, a lost connection, or a 503. curl waits between the tries as long as Retry-After asks.
#
#   sh retry.sh
#
# Every try carries the same request_id, by which a repeat is recognised later: a try whose answer
# was lost may have been stored. The X-Request-ID comes back in the answer and stands in the
# instance's log lines about it. curl repeats a refused event (422) as well, which does no harm.
# The exit status is 0 only when the event is stored. Needs curl 7.76 or newer.
set -eu

url=${LOGS_INGEST_URL:-http://127.0.0.1:8000}
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
id="example-$(date +%s)-$$"

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Into a file, which curl empties before each try: only the last answer is shown.
result=0
curl --silent --show-error --fail-with-body --max-time 15 \
    --retry 8 --retry-all-errors --retry-max-time 60 \
    --header 'Content-Type: application/json' --header "X-Request-ID: $id" \
    --output "$answer" --data-binary @- "$url/api/logs/ingest" <<EVENT || result=$?
{"request_id":"$id","service":"till-7","env":"test","timestamp":"$now","action":"checkout","level":"info","message":"sale closed"}
EVENT

cat "$answer"
echo
exit "$result"
