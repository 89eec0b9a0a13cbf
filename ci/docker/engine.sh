#!/usr/bin/env bash
# A Docker engine with Compose and Buildx, and stand-ins for the public base images, on a Debian
# machine that reaches no container registry: everything comes from Debian packages and PyPI.
# Idempotent; needs root. Whoever has an engine and a registry never needs this (see README.md).
#
#   engine.sh up       engine + bases: what CI calls
#   engine.sh engine   install what is missing, start dockerd if nothing answers, wait for it
#   engine.sh bases    build the stand-in images that are missing or changed
#   engine.sh stop     end the dockerd that this script started
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SUITE=${MODELYARD_ENGINE_SUITE:-forky}         # the Debian suite that engine and plugins come from
PREFIX=${MODELYARD_ENGINE_PREFIX:-/opt/modelyard-engine}
RUN=${MODELYARD_ENGINE_RUN:-/var/run/modelyard-engine}
DATA=${MODELYARD_ENGINE_DATA:-/var/lib/docker}
WAIT_S=${MODELYARD_ENGINE_WAIT_S:-60}
FAKE_GPU=${MODELYARD_ENGINE_FAKE_GPU:-1}       # lets a GPU-reserved service start without a GPU
export DEBIAN_FRONTEND=noninteractive
export PATH="$PREFIX/usr/bin:$PREFIX/usr/sbin:$PATH"

log() { printf '[engine %(%H:%M:%S)T] %s\n' -1 "$*" >&2; }
fail() { log "$*"; exit 1; }

mirror() { # the Debian mirror this machine already uses
  { awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null
    awk '$1=="deb"{for(i=2;i<=NF;i++)if($i ~ /^http/){print $i; exit}}' \
      /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null
  } | head -1
}

install_own_suite() { # install_own_suite PACKAGE...: only what is missing
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  log "apt-get install ${missing[*]}"
  local install=(apt-get install -y -qq --no-install-recommends "${missing[@]}")
  "${install[@]}" >"$RUN/apt.log" 2>&1 ||
    { apt-get -o Acquire::Check-Valid-Until=false update -qq && "${install[@]}" >"$RUN/apt.log" 2>&1; } ||
    { cat "$RUN/apt.log" >&2; return 1; }
}

unpack_engine() { # under $PREFIX, from $SUITE; apt's and dpkg's own state stay untouched
  local plugins=/usr/local/lib/docker/cli-plugins
  if [ ! -e "$PREFIX/.unpacked-$SUITE" ]; then
    log "unpacking the engine and its plugins from $SUITE"
    local apt=$PREFIX/apt
    mkdir -p "$apt/lists/partial" "$apt/debs"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $SUITE main" >"$apt/suite.list"
    local options=(-o "Dir::Etc::sourcelist=$apt/suite.list" -o Dir::Etc::sourceparts=/dev/null
      -o "Dir::State::Lists=$apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
      -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false)
    apt-get "${options[@]}" update -qq
    # the suite's own runc wants a newer libc: runc, tini and iptables are the machine's own
    (cd "$apt/debs" && apt-get "${options[@]}" download -qq docker.io docker-cli containerd docker-compose docker-buildx)
    for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$PREFIX"; done
    rm -rf "$apt"
    touch "$PREFIX/.unpacked-$SUITE"
  fi
  ln -sf /usr/bin/tini-static "$PREFIX/usr/bin/docker-init"
  mkdir -p "$plugins"
  ln -sf "$PREFIX"/usr/libexec/docker/cli-plugins/* "$plugins/"
  [ -e /usr/local/bin/docker ] || [ -e /usr/bin/docker ] || ln -s "$PREFIX/usr/bin/docker" /usr/local/bin/docker
}

answers() { docker version --format '{{.Server.Version}}' 2>/dev/null; }
complete() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }

forget_killed_daemon() { # a pid file whose number another process may have by now stops a new dockerd
  local file pid
  for file in "$RUN/dockerd.pid" /var/run/docker/containerd/containerd.pid; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    grep -qaE 'dockerd|containerd' "/proc/$pid/cmdline" 2>/dev/null || rm -f "$file"
  done
}

engine() {
  local version start=$SECONDS
  if version=$(answers) && complete; then log "engine $version already answers"; return; fi
  [ "$(id -u)" = 0 ] || fail "expected root to install and start an engine, found user $(id -un): run it with sudo"
  mkdir -p "$RUN"
  install_own_suite runc tini iptables ca-certificates
  unpack_engine
  if version=$(answers); then log "engine $version already answers"; return; fi
  if [ "$FAKE_GPU" = 1 ] && ! command -v nvidia-container-runtime-hook >/dev/null; then
    install -D -m 755 "$HERE/gpu/nvidia-container-runtime-hook" "$PREFIX/usr/bin/"  # looked for at dockerd's start only
    install -D -m 644 "$HERE/gpu/cdi.json" /etc/cdi/modelyard-fake-gpu.json
  fi
  forget_killed_daemon
  setsid -f dockerd --config-file "$HERE/daemon.json" --data-root "$DATA" --pidfile "$RUN/dockerd.pid" \
    </dev/null >"$RUN/dockerd.log" 2>&1
  until version=$(answers); do
    [ $((SECONDS - start)) -lt "$WAIT_S" ] ||
      { tail -20 "$RUN/dockerd.log" >&2; fail "dockerd did not answer within ${WAIT_S}s; its log is above"; }
    sleep 0.2
  done
  log "engine $version answers after $((SECONDS - start))s"
}

bases() {
  mkdir -p "$RUN"
  "$HERE/rootfs.sh" "$(mirror)" || fail "the Debian root file systems could not be built"
  log "building the stand-ins"
  cd "$HERE/bases"
  local group
  for group in python default; do  # one is built from the other's result
    docker buildx bake --progress=plain "$group" >"$RUN/bake.log" 2>&1 ||
      { tail -40 "$RUN/bake.log" >&2; fail "the stand-ins could not be built; the end of the log is above"; }
  done
  log "stand-ins are there"
}

stop() {
  local pid waited=0
  [ -s "$RUN/dockerd.pid" ] || { log "no engine of this script runs"; return; }
  pid=$(cat "$RUN/dockerd.pid")
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    [ $((waited += 1)) -le 150 ] || fail "dockerd ($pid) did not stop within 30s"
    sleep 0.2
  done
  log "engine stopped"
}

case ${1:-up} in
  up) engine; bases ;;
  engine | bases | stop) "$1" ;;
  *) echo "usage: $0 up|engine|bases|stop" >&2; exit 2 ;;
esac
