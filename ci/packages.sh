#!/usr/bin/env bash
# What CI needs of Debian: Chromium and its driver, for the test that opens /docs in a browser, and
# valgrind, for make bench-instructions. Idempotent; needs root. Without the first that test is
# skipped, and fails in CI.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

command -v chromium >/dev/null && command -v chromedriver >/dev/null &&
  command -v valgrind >/dev/null && exit
install=(apt-get install -y -qq --no-install-recommends chromium chromium-driver valgrind)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${install[@]}" >"$log" 2>&1 ||
  { apt-get -o Acquire::Check-Valid-Until=false update -qq && "${install[@]}" >"$log" 2>&1; } ||
  { cat "$log" >&2; exit 1; }
