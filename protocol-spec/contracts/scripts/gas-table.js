// Writes GAS.md from snapshots/adjudicator.json.
"use strict";
const fs = require("fs");
const path = require("path");
const root = path.join(__dirname, "..");
const gas = JSON.parse(fs.readFileSync(path.join(root, "snapshots", "adjudicator.json"), "utf8"));
const of = (name) => Number(gas[name]);
const each = (name, count = 50) => Math.round(of(name) / count);
const rows = [
  ["open + deposit, exact approve", of("open + deposit, exact approve"), 80_000],
  ["open + deposit, unlimited approve", of("open + deposit, unlimited approve"), 80_000],
  ["open + deposit, ERC-3009 relayed", of("open + deposit, ERC-3009 relayed"), 101_000],
  ["open + deposit, native", of("open + deposit, native"), null],
  ["reserve, per channel of 50", each("reserve, 50 channels"), 9_000],
  ["checkpoint, per channel of 50, warm floors", each("checkpoint, 50 channels, warm floors"), 18_000],
  ["checkpoint, per channel of 50, fresh floors", each("checkpoint, 50 channels, fresh floors"), null],
  ["stale dispute answered, per channel of 50", each("stale disputes answered, 50 channels"), 20_000],
  ["submit, lock-free, warm floors", of("submit, lock-free, warm floors"), 55_000],
  ["submit, lock-free, fresh floors", of("submit, lock-free, fresh floors"), 55_000],
  ["submit, lock-free, 10-deep batch signature", of("submit, lock-free, 10-deep batch signature"), 55_000],
  ["submit with locks, fresh words", of("submit with locks, fresh words"), 80_000],
  ["resolve one lock", of("resolve one lock"), null],
  ["dispute + finalize, direct, fresh floors", of("dispute, direct, fresh floors") + of("finalize"), 130_000],
  [
    "dispute + finalize, 10-deep proof, fresh floors, recipient new to the token",
    of("dispute, 10-deep proof, fresh floors") + of("finalize, recipient new to the token"),
    150_000,
  ],
  ["close, relayed", of("close, relayed"), null],
  ["close, per channel of 50", each("close, 50 channels"), 26_000],
  ["close, per channel of 50, recipients new to the token", each("close, 50 channels, recipients new to the token"), 43_000],
  ["withdraw, relayed, first of its channel", of("withdraw, relayed, first"), null],
  ["release alone, first of its channel, fresh floors", of("release alone, first of its channel"), null],
  ["release alone", of("release alone"), null],
  ["release, per channel of 8, first of each, fresh floors", each("release, 8 channels, first of each", 8), null],
  ["release, per channel of 8", each("release, 8 channels", 8), null],
  ["release, per channel of 50, first of each, fresh floors", each("release, 50 channels, first of each"), null],
  ["release, per channel of 50", each("release, 50 channels"), null],
];
const number = (n) => n.toLocaleString("en-US");
const line = ([what, got, target]) =>
  `| ${what} | ${number(got)} | ${target === null ? "" : number(target)} | ${target === null ? "" : got <= target ? "met" : `+${number(got - target)}`} |`;
// Why a target is not met; printed only while it is not.
const reasons = {
  "open + deposit, ERC-3009 relayed":
    "about 97,000 are base cost, calldata, storage, logs and the signature check of the token; the token's own code and the measured balance are most of the rest",
  "submit, lock-free, fresh floors":
    "a word written for the first time costs 17,100 more than one that is changed; base cost, calldata, storage, log and signature check are 56,800 together",
  "submit with locks, fresh words":
    "a commitment of 32 bytes, and base, counted sum and expiry (R18, R19) need two new words of 22,100; base cost, calldata, storage, logs and signature check are 88,700 together",
};
const missed = rows.filter(([what, got, target]) => target !== null && got > target && reasons[what]);
const text = `# Gas

Whole transactions: base cost and calldata included, every call cold (\`forge --isolate\`), solc with via_ir and 200 runs,
an OpenZeppelin ERC-20 as the token. Written by \`scripts/gas\` from \`snapshots/adjudicator.json\`; do not edit.

| what | gas | target | |
|---|---:|---:|---|
${rows.map(line).join("\n")}

${missed.map(([what]) => `* ${what}: ${reasons[what]}.`).join("\n")}

Stale disputes answered in 30M gas: ${number(Math.floor(30_000_000 / each("stale disputes answered, 50 channels")))} (target 1,500).
`;
fs.writeFileSync(path.join(root, "GAS.md"), text);
