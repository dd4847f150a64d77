// Compiles the adjudicator of one source tree after another in one process, because solc as WebAssembly is slow to start:
// a line of stdin is the root of a tree, a line of stdout is { bytecode, deployedBytecode } or { error }.
// Through the IR as in foundry.toml, which the contract needs, but with hardly any optimizing: half the time. The code is too
// large for a chain, so the tests run with a higher limit, and without the gas tests.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require(path.join(__dirname, "..", "..", "node_modules", "solc"));
const MAIN = "src/Adjudicator.sol";

function compile(root) {
  const read = (name) => {
    const file = path.join(root, name.startsWith("@") ? "node_modules" : "", name);
    return fs.existsSync(file) ? { contents: fs.readFileSync(file, "utf8") } : { error: `no ${name}` };
  };
  const settings = {
    evmVersion: "cancun",
    viaIR: true,
    optimizer: {
      enabled: false,
      details: { peephole: true, jumpdestRemover: true, yul: true, yulDetails: { optimizerSteps: "u:fDnTOcmu" } },
    },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { [MAIN]: { Adjudicator: ["evm.bytecode.object", "evm.deployedBytecode.object"] } },
  };
  const input = { language: "Solidity", sources: { [MAIN]: { content: read(MAIN).contents } }, settings };
  const { errors = [], contracts } = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
  const error = errors.find((e) => e.severity === "error");
  if (error) return { error: error.formattedMessage };
  const { bytecode, deployedBytecode } = contracts[MAIN].Adjudicator.evm;
  return { bytecode: `0x${bytecode.object}`, deployedBytecode: `0x${deployedBytecode.object}` };
}

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (root) => process.stdout.write(JSON.stringify(compile(root)) + "\n"));
