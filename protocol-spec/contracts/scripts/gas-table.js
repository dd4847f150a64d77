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
  ["stale dispute answered, per channel of 50, fresh floors", each("stale disputes answered, 50 channels, fresh floors"), null],
  ["submit, lock-free, warm floors", of("submit, lock-free, warm floors"), 55_000],
  ["submit, lock-free, fresh floors", of("submit, lock-free, fresh floors"), 55_000],
  ["submit, lock-free, 10-deep batch signature", of("submit, lock-free, 10-deep batch signature"), 55_000],
  ["submit with locks, fresh words", of("submit with locks, fresh words"), 80_000],
  ["resolve one lock", of("resolve one lock"), null],
  ["dispute started, voucher with 1 lock shown and resolved, fresh floors", of("dispute started with 1 lock, fresh floors"), null],
  ["dispute answered, 1 lock resolved, fresh floors", of("dispute answered with 1 lock, fresh floors"), null],
  ["dispute answered, 64 locks resolved, fresh floors, per lock", each("dispute answered with 64 locks, fresh floors", 64), null],
  ["dispute answered, 150 of 4096 locks resolved, per lock", each("dispute answered with 150 of 4096 locks, warm floors", 150), null],
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
// How many channels can be defended in a time, if so many percent of every block are ours. On average over its blocks: what does
// not fit one block goes into the next. The block is the one of the target above; the challenge period and
// `act` are the defaults of hub.toml and limits.rs.
const BLOCK_GAS = 30_000_000;
const BLOCK_S = 12;
const TX_GAS_MAX = 2 ** 24;
const times = [["challenge period, 24 h", 24 * 3600], ["act, 30 min", 30 * 60]];
const shares = [10, 50, 100];
const work = (floors) => [
  ["no locks, 50 in a call", of(floors === "warm" ? "stale disputes answered, 50 channels" : "stale disputes answered, 50 channels, fresh floors") / 50, 50],
  ...[1, 8, 64].map((n) => [`${n} lock${n === 1 ? "" : "s"} each`, of(`dispute answered with ${n} lock${n === 1 ? "" : "s"}, ${floors} floors`), 1]),
];
const windows = [];
for (const floors of ["warm", "fresh"])
  for (const [what, gasEach, together] of work(floors)) {
    if (gasEach * together > TX_GAS_MAX) throw new Error(`${what}: ${gasEach * together} gas in one transaction`);
    const cells = times.flatMap(([, seconds]) =>
      shares.map((share) => number(Math.floor((BLOCK_GAS * (seconds / BLOCK_S) * share) / 100 / gasEach))),
    );
    windows.push(`| ${floors} | ${what} | ${number(Math.round(gasEach))} | ${cells.join(" | ")} |`);
  }
const columns = times.flatMap(([time]) => shares.map((share) => `${time}: ${share} %`));
const text = `# Gas

Whole transactions: base cost and calldata included, every call cold (\`forge --isolate\`), solc with via_ir and 200 runs,
an OpenZeppelin ERC-20 as the token. Written by \`scripts/gas\` from \`snapshots/adjudicator.json\`; do not edit.

| what | gas | target | |
|---|---:|---:|---|
${rows.map(line).join("\n")}

${missed.map(([what]) => `* ${what}: ${reasons[what]}.`).join("\n")}

Stale disputes answered in 30M gas: ${number(Math.floor(30_000_000 / each("stale disputes answered, 50 channels")))} (target 1,500).

## Channels per window

How many stale disputes can be answered, each with everything that is known: the newest voucher, and every lock in it resolved by its preimage. Blocks of
30M gas every 12 s, of which the hub gets a part; no transaction above 2^24 gas. "Warm": both floors of the channel were written before (a checkpoint), "fresh": never.

| floors | channel | gas each | ${columns.join(" | ")} |
|---|---|---:|${"---:|".repeat(columns.length)}
${windows.join("\n")}

A window is the challenge period; \`act\` is what is left when the hub looks for the first time that late before its end. Locks must be resolved before
they expire: how many the hub forwards at once, and which part of the blocks that needs, is checked by \`cargo test --release -p hub --lib r22_locks_in_all -- --nocapture\`.
`;
fs.writeFileSync(path.join(root, "GAS.md"), text);
