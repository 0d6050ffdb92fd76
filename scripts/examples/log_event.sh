# A shell function that sends one event; any POSIX shell (dash, bash, busybox) with curl, od and awk.
#
#   . ./log_event.sh
#   LOGS_INGEST_SERVICE=nightly-backup
#   log_event info backup.done "copied 12 files"
#   log_event error backup.failed "disk says: \"full\"" || echo "not stored, will tell somebody" >&2
#
# LOGS_INGEST_URL, LOGS_INGEST_SERVICE and LOGS_INGEST_ENV say where to and from whom; with
# LOGS_INGEST_KEY_FILE, a file that holds `X-API-Key: ...`, it shows a key without showing it to `ps`.
# The status is 0 only when the event is stored.

# A text as a JSON string: quotes, backslashes and control characters escaped, the rest as it is.
json_string() {
    printf '%s' "$1" | LC_ALL=C od -An -v -tu1 | LC_ALL=C awk '
        BEGIN { printf "\"" }
        {
            for (i = 1; i <= NF; i++) {
                if ($i == 34 || $i == 92) printf "\\%c", $i
                else if ($i < 32) printf "\\u%04x", $i
                else printf "%c", $i
            }
        }
        END { printf "\"" }'
}

# log_event LEVEL ACTION MESSAGE
log_event() {
    [ $# -eq 3 ] || { echo 'usage: log_event LEVEL ACTION MESSAGE' >&2; return 64; }
    log_event_id="$(date +%s)-$$-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')"
    {
        printf '{"request_id":%s,' "$(json_string "$log_event_id")"
        printf '"service":%s,' "$(json_string "${LOGS_INGEST_SERVICE:-shell}")"
        printf '"env":%s,' "$(json_string "${LOGS_INGEST_ENV:-shop}")"
        printf '"timestamp":"%s",' "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
        printf '"action":%s,' "$(json_string "$2")"
        printf '"level":%s,' "$(json_string "$1")"
        printf '"message":%s}' "$(json_string "$3")"
    } | curl --silent --show-error --fail --output /dev/null --max-time 15 \
        --retry 3 --retry-all-errors --retry-max-time 60 \
        --header 'Content-Type: application/json' --header "Idempotency-Key: $log_event_id" \
        ${LOGS_INGEST_KEY_FILE:+--header "@$LOGS_INGEST_KEY_FILE"} \
        --data-binary @- "${LOGS_INGEST_URL:-http://127.0.0.1:8000}/api/logs/ingest"
}
