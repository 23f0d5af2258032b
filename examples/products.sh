#!/bin/sh
# The external API with curl: check the key, write, read, change what was read, and ask what changed.
#
#     PIM_API_KEY=pm_live_… sh products.sh
#
# Each answer is printed; the script stops at the first one that is an error.
set -eu

base="${PIM_BASE_URL:-http://127.0.0.1:8000}/api/v1/ext"
ean="${PIM_EAN:-4006381333931}"
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

call() {
    curl --silent --show-error --fail-with-body --header "X-API-Key: $PIM_API_KEY" \
        --header "Content-Type: application/json" "$@"
    echo
}

call "$base/status"

# Safe to repeat when the answer is lost: the same key gives the same answer, and the work is done once.
call "$base/products" --header "Idempotency-Key: create-$ean" \
    --data "{\"ean\": \"$ean\", \"name\": \"Pen\", \"brand_name\": \"Acme\", \"weight\": 0.02, \"status\": \"active\"}"

call "$base/products/batch" \
    --data "{\"products\": [{\"ean\": \"$ean\", \"reference\": \"P-1\"}, {\"ean\": \"96385074\", \"name\": \"Ink\"}]}"

# Change the product only if nobody else has since it was read.
call "$base/products/$ean" --dump-header "$headers"
etag=$(tr -d '\r' <"$headers" | sed -n 's/^[Ee][Tt][Aa][Gg]: //p')
call "$base/products/$ean" --request PATCH --header "If-Match: $etag" --data '{"status": "inactive"}'

call "$base/products?supplier_code=KIMEX&page=1&page_size=100"
call "$base/products/delta?since=2026-01-01T00:00:00Z&page_size=500"
