#!/bin/sh
# A training run: fetch the data that the configuration names, then train. Arguments go to
# `modelyard train`, or to the command of ENTRYPOINT_JOB.
#
# The same script runs in the training image and, by `make demo`, without Docker: only the
# environment differs. The project itself is never written to (in the image it cannot be).
#   WORKSPACE        a scratch DVC workspace: pointers, links to the data, DVC's own state
#   DVC_CACHE_DIR    where the data itself lies, shared by all runs
#   DVC_REMOTE_URL   another address for the remote `store` of .dvc/config
#   ENTRYPOINT_JOB   `dataset`: put the demo data into the store; `tune`: search, instead of training
set -eu
EXIT_CONFIGURATION=2 # as in src/modelyard/errors.py, which a test holds
EXIT_DATA=4
PROJECT_DIR=$(cd "$(dirname "$0")" && pwd)
WORKSPACE=${WORKSPACE:-/workspace}
DVC_CACHE_DIR=${DVC_CACHE_DIR:-/var/cache/dvc}

# One attempt each: s3fs, below DVC, tries five times itself, and attempts multiply. With the timeouts
# below, a store that falls silent in the middle of a file ends the run within 50 seconds.
export AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-1}"
export DVC_SITE_CACHE_DIR="${DVC_SITE_CACHE_DIR:-$WORKSPACE/.dvc/site}"
export DVC_NO_ANALYTICS=1

fail() { # fail EXPECTED FOUND FIX
  printf 'training stopped: the data could not be fetched.\n  expected  %s\n  found     %s\n  fix       %s\n' "$1" "$2" "$3" >&2
  exit "$EXIT_DATA"
}

prepare_workspace() {
  mkdir -p "$WORKSPACE/.dvc" "$DVC_CACHE_DIR"
  cp "$PROJECT_DIR/.dvc/config" "$WORKSPACE/.dvc/config"
  (cd "$PROJECT_DIR" && find data -name '*.dvc' -type f) | while read -r pointer; do
    mkdir -p "$WORKSPACE/$(dirname "$pointer")"
    cp "$PROJECT_DIR/$pointer" "$WORKSPACE/$pointer"
  done
  {
    # links: the data is neither copied nor held in the workspace, which may be memory
    printf '[cache]\n    dir = %s\n    type = symlink\n' "$DVC_CACHE_DIR"
    if [ -n "${DVC_REMOTE_URL:-}" ]; then
      printf "['remote \"store\"']\n    url = %s\n" "$DVC_REMOTE_URL"
      case $DVC_REMOTE_URL in s3://*) printf '    connect_timeout = 4\n    read_timeout = 9\n' ;; esac
    fi
  } >"$WORKSPACE/.dvc/config.local"
}

store_answers() { # any answer counts; a store that is stopped or silent shows within 5 seconds
  python - "$1" <<'PY'
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError:
    pass
except (OSError, ValueError) as error:
    sys.exit(f"  {sys.argv[1]}: {error}")
PY
}

pull_data() { # pull_data NAME: the dataset in data/, and no other that has a pointer there
  if [ ! -f "$WORKSPACE/data/$1.dvc" ]; then
    there=$(cd "$WORKSPACE" && find data -name '*.dvc' 2>/dev/null | sort | tr '\n' ' ')
    fail "a DVC pointer data/$1.dvc" "${there:-none}" \
      "dvc add data/$1, then build the image again; or name another dataset: --set data=NAME"
  fi
  if [ -n "${AWS_ENDPOINT_URL_S3:-}" ]; then
    store_answers "$AWS_ENDPOINT_URL_S3" || fail \
      "an S3 store that answers at $AWS_ENDPOINT_URL_S3" \
      "none (the line above says why)" \
      "docker compose up -d --wait storage; for a store of your own check S3_ENDPOINT_URL"
  fi
  expected="the file that data/$1.dvc names, unchanged, in the store ${DVC_REMOTE_URL:-of .dvc/config}"
  fix="a missing file: dvc push from where it is; a corrupted one: remove it from the store and push it again"
  (cd "$WORKSPACE" && dvc pull "data/$1.dvc") || fail "$expected" "what dvc says above" "$fix"
  # dvc calls it a success when it linked to a file that neither the store nor the cache has
  [ -e "$WORKSPACE/data/$1" ] || fail "$expected" "nothing usable for it: it is not in the store, or its bytes do not have the md5 that its pointer names" "$fix"
}

prepare_workspace
export MODELYARD_DATA_DIR="$WORKSPACE/data"
job=${ENTRYPOINT_JOB:-train}
case $job in
  dataset) exec modelyard dataset "$@" ;;
  train | tune)
    # a mistake in the configuration ends here, before anything is fetched
    dataset=$(modelyard dataset-name --job "$job" "$@") || exit
    case $dataset in
      s3://*) ;; # streamed from where it is
      *) pull_data "$dataset" ;;
    esac
    exec modelyard "$job" "$@"
    ;;
  *)
    echo "ENTRYPOINT_JOB: expected train, tune or dataset, found $ENTRYPOINT_JOB" >&2
    exit "$EXIT_CONFIGURATION"
    ;;
esac
