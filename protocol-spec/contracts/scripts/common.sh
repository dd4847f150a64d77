# Sourced by the scripts beside it: the pinned tools, installed by `npm ci`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# The npm shims of forge and anvil always exit 0, so the native programs are called.
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) platform=linux-amd64 ;;
  Linux-aarch64) platform=linux-arm64 ;;
  Darwin-x86_64) platform=darwin-amd64 ;;
  Darwin-arm64) platform=darwin-arm64 ;;
  *) echo "no forge for $(uname -s)-$(uname -m)" >&2; exit 2 ;;
esac
FORGE=node_modules/@foundry-rs/forge-$platform/bin/forge
if [ ! -x "$FORGE" ]; then
  echo "protocol-spec/contracts: run 'npm ci' first ($FORGE is missing)" >&2
  exit 2
fi
export FOUNDRY_OFFLINE=true
