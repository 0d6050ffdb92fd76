#!/bin/sh
# Shows how an instance is, and whether it could store the next event.
#
#   sh health.sh
#
# Exit status: 0 ready, 1 running but not ready, 69 no answer.
set -eu

url=${LOGS_INGEST_URL:-http://127.0.0.1:8000}

# Where events go at the moment: "degraded" means safe, but Kafka is out of reach.
curl --silent --show-error --max-time 5 "$url/health" || exit 69
echo

# 200: the next event could be stored. 503: it could not.
ready=$(curl --silent --show-error --max-time 5 --output /dev/null --write-out '%{http_code}' "$url/readyz") || exit 69
echo "readyz: $ready"
[ "$ready" = 200 ]
