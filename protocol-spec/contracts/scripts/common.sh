# Sourced by the scripts beside it: the pinned tools, installed by `npm ci`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# The native package, not the shim `@foundry-rs/forge`, which always exits 0. Elsewhere than on Linux x86-64 set FORGE
# to a forge 1.7.1 of your own (install with `npm ci --force`).
FORGE=${FORGE:-node_modules/@foundry-rs/forge-linux-amd64/bin/forge}
if ! command -v "$FORGE" >/dev/null; then
  echo "protocol-spec/contracts: run 'npm ci' first ($FORGE is missing)" >&2
  exit 2
fi
export FOUNDRY_OFFLINE=true
