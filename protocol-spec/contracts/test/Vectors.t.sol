// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {Test} from "forge-std/Test.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import "../src/IAdjudicator.sol";

/// The vectors that Rust wrote (protocol-spec/vectors), through the contract's own hashing.
contract VectorsTest is Test {
    string private json;

    function _load(string memory name) private returns (uint256 count) {
        json = vm.readFile(string.concat("../vectors/", name, ".json"));
        count = vm.parseJsonUint(json, ".count");
        assertGt(count, 0);
    }

    function _words(string memory key) private view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, key);
    }

    function _numbers(string memory key) private view returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, key);
    }

    function _addresses(string memory key) private view returns (address[] memory) {
        return vm.parseJsonAddressArray(json, key);
    }

    function _bytes(string memory key) private view returns (bytes[] memory) {
        return vm.parseJsonBytesArray(json, key);
    }

    /// The adjudicator at the vectors' address, on the vectors' chain.
    function _adjudicator(uint256 chainId, address at) private returns (IAdjudicator) {
        vm.chainId(chainId);
        if (at.code.length == 0) deployCodeTo("artifacts/Adjudicator.json", at);
        return IAdjudicator(at);
    }

    function _theAdjudicator() private returns (IAdjudicator) {
        return _adjudicator(_numbers(".chain_id")[0], _addresses(".adjudicator")[0]);
    }

    /// Every signature recovers to its signer by the precompile.
    function _checkSignatures(uint256 count) private view {
        bytes32[] memory digests = _words(".digest");
        bytes[] memory signatures = _bytes(".signature");
        address[] memory signers = _addresses(".signer");
        for (uint256 i = 0; i < count; ++i) {
            assertEq(_recover(digests[i], signatures[i]), signers[i]);
        }
    }

    function _recover(bytes32 digest, bytes memory signature) private pure returns (address) {
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
        }
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    function test_vectors_configs() public {
        uint256 count = _load("config");
        for (uint256 i = 0; i < count; ++i) {
            IAdjudicator adj = _adjudicator(_numbers(".chain_id")[i], _addresses(".adjudicator")[i]);
            Config memory config = Config({
                client: _addresses(".client")[i],
                clientSigner: _addresses(".client_signer")[i],
                hub: _addresses(".hub")[i],
                hubSigner: _addresses(".hub_signer")[i],
                token: _addresses(".token")[i],
                challengePeriodS: uint64(_numbers(".challenge_period_s")[i]),
                salt: _words(".salt")[i]
            });
            assertEq(adj.domainSeparator(), _words(".separator")[i]);
            assertEq(adj.channelIdOf(config), _words(".channel_id")[i]);
        }
    }

    function test_vectors_vouchers() public {
        uint256 count = _load("voucher");
        IAdjudicator adj = _theAdjudicator();
        for (uint256 i = 0; i < count; ++i) {
            Voucher memory voucher = Voucher({
                channelId: _words(".channel_id")[i],
                seq: uint64(_numbers(".seq")[i]),
                paid: uint128(_numbers(".paid")[i]),
                ackSeq: uint64(_numbers(".ack_seq")[i]),
                ackPaid: uint128(_numbers(".ack_paid")[i]),
                locks: _words(".locks")[i],
                history: _words(".history")[i]
            });
            assertEq(adj.voucherDigest(voucher), _words(".digest")[i]);
        }
        _checkSignatures(count);
    }

    function test_vectors_closes() public {
        uint256 count = _load("close");
        IAdjudicator adj = _theAdjudicator();
        for (uint256 i = 0; i < count; ++i) {
            Close memory message = Close({
                channelId: _words(".channel_id")[i],
                clientDeposit: uint128(_numbers(".client_deposit")[i]),
                hubDeposit: uint128(_numbers(".hub_deposit")[i]),
                clientBalance: uint128(_numbers(".client_balance")[i]),
                hubBalance: uint128(_numbers(".hub_balance")[i]),
                deadline: uint64(_numbers(".deadline")[i])
            });
            assertEq(adj.closeDigest(message), _words(".digest")[i]);
        }
        _checkSignatures(count);
    }

    function test_vectors_withdraws() public {
        uint256 count = _load("withdraw");
        IAdjudicator adj = _theAdjudicator();
        for (uint256 i = 0; i < count; ++i) {
            Withdraw memory message = Withdraw({
                channelId: _words(".channel_id")[i],
                side: uint8(_numbers(".side")[i]),
                total: uint128(_numbers(".total")[i]),
                clientSeq: uint64(_numbers(".client_seq")[i]),
                clientPaid: uint128(_numbers(".client_paid")[i]),
                hubSeq: uint64(_numbers(".hub_seq")[i]),
                hubPaid: uint128(_numbers(".hub_paid")[i]),
                deadline: uint64(_numbers(".deadline")[i])
            });
            assertEq(adj.withdrawDigest(message), _words(".digest")[i]);
        }
        _checkSignatures(count);
    }

    function test_vectors_cancels() public {
        uint256 count = _load("cancel_dispute");
        IAdjudicator adj = _theAdjudicator();
        for (uint256 i = 0; i < count; ++i) {
            CancelDispute memory message = CancelDispute({
                channelId: _words(".channel_id")[i],
                disputeNo: uint64(_numbers(".dispute_no")[i]),
                deadline: uint64(_numbers(".deadline")[i])
            });
            assertEq(adj.cancelDisputeDigest(message), _words(".digest")[i]);
        }
        _checkSignatures(count);
    }

    function test_vectors_accepts() public {
        uint256 count = _load("accept");
        IAdjudicator adj = _theAdjudicator();
        bool[] memory mayDispute = vm.parseJsonBoolArray(json, ".may_dispute");
        for (uint256 i = 0; i < count; ++i) {
            Accept memory message = Accept({
                voucher: _words(".voucher")[i],
                submitter: _addresses(".submitter")[i],
                mayDispute: mayDispute[i],
                deadline: uint64(_numbers(".deadline")[i])
            });
            assertEq(adj.acceptDigest(message), _words(".digest")[i]);
        }
        _checkSignatures(count);
    }

    function test_vectors_batches() public {
        uint256 count = _load("batch");
        IAdjudicator adj = _theAdjudicator();
        for (uint256 i = 0; i < count; ++i) {
            bytes32 root = _words(".root")[i];
            assertEq(adj.batchDigest(root), _words(".digest")[i]);
            assertEq(MerkleProof.processProof(_split(_bytes(".proof")[i]), _words(".leaf")[i]), root);
        }
        _checkSignatures(count);
    }

    function test_vectors_locks() public {
        uint256 sets = _load("lock_set");
        bytes32[] memory roots = _words(".root");
        for (uint256 i = 0; i < sets; ++i) {
            LocksOpening memory opening = LocksOpening({
                root: roots[i],
                total: uint128(_numbers(".total")[i]),
                maxExpiry: uint64(_numbers(".max_expiry")[i])
            });
            assertEq(keccak256(abi.encode(opening)), _words(".commitment")[i]);
        }
        uint256 count = _load("lock");
        for (uint256 i = 0; i < count; ++i) {
            Lock memory lock = Lock({
                id: uint64(_numbers(".id")[i]),
                amount: uint128(_numbers(".amount")[i]),
                expiry: uint64(_numbers(".expiry")[i]),
                hash: _words(".hash")[i],
                resolver: _addresses(".resolver")[i]
            });
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(lock))));
            assertEq(leaf, _words(".leaf")[i]);
            assertEq(MerkleProof.processProof(_split(_bytes(".proof")[i]), leaf), roots[_numbers(".set")[i]]);
        }
    }

    function test_vectors_noncesAndWitnesses() public {
        uint256 count = _load("derived");
        for (uint256 i = 0; i < count; ++i) {
            bytes32 id = _words(".channel_id")[i];
            assertEq(keccak256(abi.encode(id, _words(".salt")[i])), _words(".erc3009_nonce")[i]);
            bytes32 witness = keccak256(abi.encode(keccak256("ChannelDeposit(bytes32 channelId)"), id));
            assertEq(witness, _words(".permit2_witness")[i]);
        }
    }

    function _split(bytes memory joined) private pure returns (bytes32[] memory proof) {
        proof = new bytes32[](joined.length / 32);
        for (uint256 i = 0; i < proof.length; ++i) {
            bytes32 word;
            assembly ("memory-safe") {
                word := mload(add(add(joined, 0x20), mul(i, 0x20)))
            }
            proof[i] = word;
        }
    }
}
