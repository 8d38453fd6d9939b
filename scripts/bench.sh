#!/bin/sh
# Measures evenkeel beside HAProxy and nginx on this machine and prints the table; see --help.
# Needs: haproxy, nginx and libnginx-mod-stream, and two CPUs that nothing else uses.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --quiet
exec cargo bench --quiet --bench peers -- "$@"
