"""Recomputes every vector from its field values, with types written from SPEC.md and libraries that are not ours.

Prints how many values were compared; exits 1 on any difference.
"""
import json
import sys
from hashlib import sha256
from pathlib import Path

from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_checksum_address

VECTORS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "protocol-spec" / "vectors"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
counts: dict[str, int] = {}
differences = 0

# SPEC.md section "Signed types": Solidity type, then the vectors' column.
TYPES = {
    "Config": "address client, address clientSigner, address hub, address hubSigner, address token, uint64 challengePeriodS, bytes32 salt",
    "Voucher": "bytes32 channelId, uint64 seq, uint128 paid, uint64 ackSeq, uint128 ackPaid, bytes32 locks, bytes32 history",
    "Accept": "bytes32 voucher, address submitter, bool mayDispute, uint64 deadline",
    "Close": "bytes32 channelId, uint128 clientDeposit, uint128 hubDeposit, uint128 clientBalance, uint128 hubBalance, uint64 deadline",
    "Withdraw": "bytes32 channelId, uint8 side, uint128 total, uint64 clientSeq, uint128 clientPaid, uint64 hubSeq, uint128 hubPaid, uint64 deadline",
    "CancelDispute": "bytes32 channelId, uint64 disputeNo, uint64 deadline",
    "Batch": "bytes32 root",
    "Receipt": "bytes16 paymentId, bytes32 invoice, bytes32 payer, bytes32 payeeChannel, uint64 payeeSeq, uint128 amount, uint64 at",
    "Login": "string server, bytes32 nonce, address signer, string protocol",
    "Register": "bytes32 channelId, string server",
    "Invoice": "bytes32 channelId, uint128 amount, bytes32 hash, address resolver, uint64 expiresAt, bytes32 memo",
}
PAY, CREDIT, RETURN, LOCK_ADD, LOCK_CONVERT, LOCK_DROP = 1, 2, 3, 4, 5, 6
REASONS = "change unknown_payee payee_closed insufficient_reserve expired expiry_too_far fee_too_low duplicate_id self_payment token_mismatch payee_backlog unavailable cancelled".split()


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def rows(name):
    table = load(name)
    count = int(table.pop("count"))
    assert count > 0 and all(len(column) == count for column in table.values()), name
    return [{key: column[i] for key, column in table.items()} for i in range(count)]


def same(what, mine, theirs):
    global differences
    counts[what] = counts.get(what, 0) + 1
    if isinstance(mine, bytes):
        mine = "0x" + mine.hex()
    if mine != theirs:
        differences += 1
        print(f"DIFFERENCE {what}: computed {mine}, vector {theirs}")


def raw(text):
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


def words(text):
    data = raw(text)
    return [data[i : i + 32] for i in range(0, len(data), 32)]


def snake(name):
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


def value(kind, text):
    if kind.startswith("uint"):
        return int(text)
    if kind == "bool":
        return text in (True, "true")
    if kind == "address":
        return to_checksum_address(text)
    return raw(text) if kind.startswith("bytes") else text


def digest(primary, chain_id, adjudicator, fields):
    members = [tuple(member.strip().split(" ")) for member in TYPES[primary].split(",")]
    message = encode_typed_data(
        domain_data={"name": "Channel Hub", "version": "1", "chainId": int(chain_id), "verifyingContract": to_checksum_address(adjudicator)},
        message_types={primary: [{"type": kind, "name": name} for kind, name in members]},
        message_data={name: value(kind, fields[snake(name)]) for kind, name in members},
    )
    return keccak(b"\x19" + message.version + message.header + message.body), message


def check_signed(name, primary, rename=None):
    for row in rows(name):
        fields = {(rename or {}).get(key, key): cell for key, cell in row.items()} if rename else row
        got, message = digest(primary, row["chain_id"], row["adjudicator"], fields)
        same(f"{primary} digests", got, row["digest"])
        check_signature(message, got, row)


def check_signature(message, got, row):
    account = Account.from_key(row["key"])
    same("signers of keys", account.address.lower(), row["signer"])
    same("signatures reproduced", bytes(account.sign_message(message).signature), row["signature"])
    same("signatures verified", recover(got, raw(row["signature"])), row["signer"])


def recover(hash_, signature):
    """ecrecover with the rules of the adjudicator; None for a signature it refuses."""
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), signature[64]
    if not (0 < r < ORDER and 0 < s <= ORDER // 2 and v in (27, 28)):
        return None
    try:
        return Account._recover_hash(hash_, vrs=(v, r, s)).lower()
    except Exception:
        return None


def pair(a, b):
    return keccak(min(a, b) + max(a, b))


def tree_root(leaves):
    level = list(leaves)
    while len(level) > 1:
        level = [pair(*level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    return level[0]


def proof_root(leaf, proof):
    for sibling in proof:
        leaf = pair(leaf, sibling)
    return leaf


def lock_leaf(lock):
    kinds = ["uint64", "uint128", "uint64", "bytes32", "address"]
    names = ["id", "amount", "expiry", "hash", "resolver"]
    return keccak(keccak(encode(kinds, [value(kind, lock[name]) for kind, name in zip(kinds, names)])))


def commitment(opening):
    return keccak(encode(["bytes32", "uint128", "uint64"], [raw(opening["root"]), int(opening["total"]), int(opening["max_expiry"])]))


def big(number, size):
    return int(number).to_bytes(size, "big")


def payee(body):
    (kind, target), = body.items()
    return bytes([0]) + raw(target) if kind == "channel" else bytes([1]) + bytes(12) + raw(target)


def op_digest(op):
    (kind, body), = op.items()
    if kind == "pay":
        parts = [big(PAY, 1), raw(body["payment_id"]), payee(body["payee"]), big(body["amount"], 16), big(body["fee_max"], 16), big(body["expires_at"], 8), raw(body["invoice"])]
    elif kind == "credit":
        parts = [big(CREDIT, 1), raw(body["payment_id"]), raw(body["payer"]), big(body["amount"], 16), raw(body["invoice"])]
    elif kind == "return":
        parts = [big(RETURN, 1), raw(body["payment_id"]), big(body["amount"], 16), big(REASONS.index(body["reason"]), 2)]
    elif kind == "lock_add":
        lock = body["lock"]
        parts = [big(LOCK_ADD, 1), big(lock["id"], 8), big(lock["amount"], 16), big(lock["expiry"], 8), raw(lock["hash"]), raw(lock["resolver"])]
        parts += [raw(body["payment_id"]), payee(body["payee"]), big(body["fee_max"], 16), raw(body["invoice"])]
    elif kind == "lock_convert":
        parts = [big(LOCK_CONVERT, 1), big(body["id"], 8), sha256(raw(body["witness"])).digest()]
    else:
        parts = [big(LOCK_DROP, 1), big(body["id"], 8)]
    return sha256(b"".join(parts)).digest()


def initial_history(channel_id, payer):
    return sha256(raw(channel_id) + bytes([["client", "hub"].index(payer)])).digest()


def check_config():
    for row in rows("config"):
        kind = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
        head = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
        cells = [head, keccak(b"Channel Hub"), keccak(b"1"), int(row["chain_id"]), to_checksum_address(row["adjudicator"])]
        same("domain separators", keccak(encode(kind, cells)), row["separator"])
        same("channel ids", digest("Config", row["chain_id"], row["adjudicator"], row)[0], row["channel_id"])


def check_batches():
    for row in rows("batch"):
        leaves = words(row["leaves"])
        same("batch roots", tree_root(leaves), row["root"])
        same("batch proofs", proof_root(leaves[int(row["index"])], words(row["proof"])), row["root"])
        same("batch leaves", leaves[int(row["index"])], row["leaf"])
        got, message = digest("Batch", row["chain_id"], row["adjudicator"], row)
        same("Batch digests", got, row["digest"])
        check_signature(message, got, row)


def check_locks():
    locks, sets = rows("lock"), rows("lock_set")
    for index, opening in enumerate(sets):
        mine = [lock for lock in locks if int(lock["set"]) == index]
        leaves = [lock_leaf(lock) for lock in mine]
        for lock, leaf in zip(mine, leaves):
            same("lock leaves", leaf, lock["leaf"])
            same("lock proofs", proof_root(leaf, words(lock["proof"])), opening["root"])
        same("lock roots", tree_root(leaves), opening["root"])
        same("lock totals", str(sum(int(lock["amount"]) for lock in mine)), opening["total"])
        same("lock expiries", str(max(int(lock["expiry"]) for lock in mine)), opening["max_expiry"])
        same("lock commitments", commitment(opening), opening["commitment"])


def check_ops():
    history = None
    for row in load("op"):
        initial = initial_history(row["channel_id"], row["payer"])
        same("initial histories", initial, row["initial"])
        history = initial if row["history_before"] == row["initial"] else history
        same("histories", history, row["history_before"])
        got = op_digest(row["op"])
        same("operation digests", got, row["digest"])
        history = sha256(history + got).digest()
        same("histories", history, row["history_after"])
    for row in rows("derived"):
        same("payers", keccak(raw(row["channel_id"]) + raw(row["payment_id"])), row["payer"])
        nonce = keccak(encode(["bytes32", "bytes32"], [raw(row["channel_id"]), raw(row["salt"])]))
        same("ERC-3009 nonces", nonce, row["erc3009_nonce"])
        witness = keccak(encode(["bytes32", "bytes32"], [keccak(b"ChannelDeposit(bytes32 channelId)"), raw(row["channel_id"])]))
        same("Permit2 witnesses", witness, row["permit2_witness"])


def check_signatures():
    for row in rows("signature"):
        valid = recover(raw(row["digest"]), raw(row["signature"])) == row["signer"]
        same("signature verdicts", valid, row["error"] == "")


def check_sequence():
    """R1-R4 of a client's vouchers without locks, in the order of SPEC.md's table of errors."""
    world = load("sequence")
    chain = (world["chain_id"], world["adjudicator"])
    channel_id = "0x" + digest("Config", *chain, world["config"])[0].hex()
    seq, paid, last, history = 0, 0, None, initial_history(channel_id, "client")
    for step in world["steps"]:
        voucher = step["frame"]["voucher"]["voucher"]
        ops = step["frame"]["ops"]
        got = digest("Voucher", *chain, voucher)[0]
        same("sequence digests", got, step["digest"])
        number, ack = int(voucher["seq"]), (int(voucher["ack_seq"]), int(voucher["ack_paid"]))
        sum_, chain_of_ops = paid, history
        for op in ops:
            sum_ += int(op["pay"]["amount"]) + int(op["pay"]["fee_max"])
            chain_of_ops = sha256(chain_of_ops + op_digest(op)).digest()
        signature = raw(step["frame"]["voucher"]["signature"]["direct"])
        verdicts = [
            (number == 0, "SeqOutOfRange"),
            (recover(got, signature) != world["config"]["client_signer"], "SignatureInvalid"),
            (voucher["channel_id"] != channel_id, "WrongChannel"),
            (number == seq, "Duplicate" if got == last else "SeqConflict"),
            (number < seq, "SeqNotNewer"),
            (number > seq + 1024, "SeqJumpTooFar"),
            (ack[0] > 0, "AckUnknown"),
            (ack[1] != 0, "AckPaidMismatch"),
            (any(int(op["pay"]["amount"]) == 0 for op in ops), "AmountZero"),
            (int(voucher["paid"]) != sum_, "PaidMismatch"),
            (raw(voucher["history"]) != chain_of_ops, "HistoryMismatch"),
            (raw(voucher["locks"]) != bytes(32), "LocksMismatch"),
            (sum_ > int(world["client_deposit"]), "BalanceExceeded"),
        ]
        verdict = next((name for bad, name in verdicts if bad), "New")
        same("sequence verdicts", verdict, step["expect"])
        if verdict == "New":
            seq, paid, last, history = number, sum_, got, chain_of_ops


class Direction:
    def __init__(self):
        self.seq, self.paid, self.live = 0, 0, None

    def lift(self, seq, paid):
        self.paid = max(self.paid, paid)
        if seq > self.seq:
            self.seq, self.live = seq, None

    def effective(self):
        return max(self.paid, self.live["base"] + self.live["counted"] if self.live else 0)


def check_settlements():
    """R16-R20."""
    for case in load("settlement"):
        sides, marks = {"client": Direction(), "hub": Direction()}, {}
        for step in case["steps"]:
            payer = step["payer"]
            mine, other = sides[payer], sides["hub" if payer == "client" else "client"]
            if step["do"] == "submit":
                voucher, opening = step["voucher"], step["opening"]
                other.lift(int(voucher["ack_seq"]), int(voucher["ack_paid"]))
                mine.lift(int(voucher["seq"]), int(voucher["paid"]))
                locked = raw(voucher["locks"]) != bytes(32)
                if locked and int(voucher["seq"]) == mine.seq and mine.live is None:
                    mine.live = {"commitment": voucher["locks"], "base": int(voucher["paid"]), "counted": 0, "total": None}
                if opening and mine.live and raw(mine.live["commitment"]) == commitment(opening):
                    mine.live["total"] = int(opening["total"])
                continue
            key, counted = (payer, step["leaf"]), False
            if mine.live and (step["in_time"] or key in marks) and marks.get(key) != mine.seq:
                mine.live["counted"] = min(mine.live["counted"] + int(step["amount"]), mine.live["total"])
                marks[key], counted = mine.seq, True
            same("resolutions", counted, step["changed"])
        client_paid, hub_paid = sides["client"].effective(), sides["hub"].effective()
        same("effective sums", str(client_paid), case["client_effective"])
        same("effective sums", str(hub_paid), case["hub_effective"])
        deposits = int(case["client_deposit"]) + int(case["hub_deposit"])
        total = deposits - int(case["client_withdrawn"]) - int(case["hub_withdrawn"])
        client = int(case["client_deposit"]) - int(case["client_withdrawn"]) + hub_paid - client_paid
        client = max(0, min(total, client))
        same("balances", str(client), case["client_balance"])
        same("balances", str(total - client), case["hub_balance"])


def main():
    check_config()
    check_signed("voucher", "Voucher")
    check_signed("close", "Close")
    check_signed("withdraw", "Withdraw")
    check_signed("cancel_dispute", "CancelDispute")
    check_signed("accept", "Accept")
    check_signed("invoice", "Invoice")
    check_signed("receipt", "Receipt")
    check_signed("login", "Login", {"signer": "key_address", "login_signer": "signer"})
    check_signed("register", "Register")
    check_batches()
    check_locks()
    check_ops()
    check_signatures()
    check_sequence()
    check_settlements()
    for what, count in sorted(counts.items()):
        print(f"{count:6} {what}")
    print(f"{sum(counts.values())} values compared, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
