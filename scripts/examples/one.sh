#!/bin/sh
# Sends one event and prints the answer. The exit status is 0 only when the event is stored (202).
#
#   sh one.sh
#   LOGS_INGEST_URL=http://backoffice:8000 sh one.sh
#
# Needs curl 7.76 or newer, for --fail-with-body.
set -eu

url=${LOGS_INGEST_URL:-http://127.0.0.1:8000}
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)

# The time limit is longer than the instance's own: it answers when the event is safe, not before.
curl --silent --show-error --fail-with-body --max-time 15 \
    --header 'Content-Type: application/json' --data-binary @- "$url/api/logs/ingest" <<EVENT
{
  "request_id": "example-$(date +%s)-$$",
  "service": "till-7",
  "env": "test",
  "timestamp": "$now",
  "action": "checkout",
  "level": "info",
  "message": "sale closed",
  "product_id": "sku-4711",
  "price": 12.50,
  "quantity": 3,
  "raw_data": {"drawer": 2}
}
EVENT
echo
