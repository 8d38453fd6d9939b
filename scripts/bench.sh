#!/bin/sh
# Measures evenkeel beside nginx, HAProxy, Envoy and sozu on this machine and prints a table; see --help.
# Needs what `scripts/setup.sh --bench` installs, and two CPUs that nothing else uses meanwhile.
set -eu
cd "$(dirname "$0")/.."
# The bench profile is the release profile: this builds target/release/evenkeel as users get it.
exec cargo bench --quiet --bench peers -- "$@"
