#!/usr/bin/env bash
# rootfs.sh MIRROR: imports debian:bookworm-slim and debian:trixie-slim, bootstrapped from MIRROR.
# What only this machine needs (its CA certificates, pip and uv told to use the system's bundle)
# goes in here, so that the project's Dockerfiles need to know nothing of it.
set -euo pipefail
MIRROR=$1

have() { docker image inspect "$1" >/dev/null 2>&1; }

need_mmdebstrap() {
  command -v mmdebstrap >/dev/null && return
  apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null 2>&1 ||
    { apt-get -o Acquire::Check-Valid-Until=false update -qq &&
      apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null; }
}

write_overlay() { # write_overlay FOLDER: files laid over the bootstrapped tree
  mkdir -p "$1/etc/apt/apt.conf.d" "$1/etc/uv" "$1/usr/local/share/ca-certificates"
  # as in the real slim images: no apt caches in layers
  cat >"$1/etc/apt/apt.conf.d/docker-clean" <<'APT'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Acquire::Languages "none"; Acquire::Check-Valid-Until "false";
APT
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ndisable-pip-version-check = true\n' >"$1/etc/pip.conf"
  printf 'system-certs = true\n' >"$1/etc/uv/uv.toml"
  cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true
}

import() { # import SUITE
  local tag=debian:$1-slim overlay
  have "$tag" && return
  echo "bootstrapping $tag" >&2
  overlay=$(mktemp -d)
  write_overlay "$overlay"
  if ! mmdebstrap --quiet --variant=minbase --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook="cp -r $overlay/. \"\$1/\"" \
    --customize-hook='chroot "$1" update-ca-certificates; rm -f "$1"/var/cache/apt/*.bin' \
    "$1" - "$MIRROR" 2>"$overlay.log" |
    docker import --change 'CMD ["bash"]' --change 'LABEL modelyard.standin=true' - "$tag" >/dev/null
  then
    cat "$overlay.log" >&2
    return 1
  fi
  rm -rf "$overlay" "$overlay.log"
}

if have debian:bookworm-slim && have debian:trixie-slim; then exit 0; fi
need_mmdebstrap
import bookworm & first=$!
import trixie & second=$!
wait $first
wait $second
