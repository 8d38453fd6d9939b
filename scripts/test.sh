#!/usr/bin/env bash
# Everything that a change must pass: setup, format, lints, documentation, dependencies, tests. No arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

for component in fmt clippy; do
  if ! cargo "$component" --version >/dev/null 2>&1; then
    echo "test: cargo $component is missing; with rustup: rustup component add rustfmt clippy" >&2
    exit 1
  fi
done

step() {
  echo "==> $*"
  "$@"
}

# The toolchain is not pinned: what passes or fails here does so with these.
step rustc --version --verbose
step cargo --version
step cargo clippy --version
step cargo fmt --version
step cargo fmt --check
# Both ways, or the tests' faults could hide an unused import, or be part of a release.
step cargo clippy --locked --all-targets -- -D warnings
step cargo clippy --locked --all-targets --features faults -- -D warnings
step env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
step cargo deny --locked check bans licenses sources
# The list of vulnerable crates is a git repository, which not every machine reaches.
if cargo deny --locked fetch db >/dev/null 2>&1; then
  step cargo deny --locked check advisories
else
  echo "==> cargo deny check advisories: NOT CHECKED, the database cannot be fetched from here"
fi
# All test programs, also after one of them has failed: one run shows everything.
step cargo test --locked --features faults --no-fail-fast
