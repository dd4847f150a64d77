// Writes the committed artifacts from forge's output: node artifacts.js OUT_DIR TARGET_DIR
"use strict";
const fs = require("fs");
const path = require("path");
const [out, target] = process.argv.slice(2);
const contracts = ["Adjudicator.sol/Adjudicator", "TestToken.sol/TestToken", "ArbiterEscrow.sol/ArbiterEscrow"];
const root = path.join(__dirname, "..");
const solc = require(path.join(root, "node_modules", "solc", "package.json")).version;
fs.mkdirSync(target, { recursive: true });
for (const name of contracts) {
  const { abi, bytecode, deployedBytecode } = JSON.parse(fs.readFileSync(path.join(out, `${name}.json`), "utf8"));
  const artifact = { contractName: path.basename(name), solc, abi, bytecode: bytecode.object, deployedBytecode: deployedBytecode.object };
  fs.writeFileSync(path.join(target, `${path.basename(name)}.json`), JSON.stringify(artifact, null, 1) + "\n");
}
