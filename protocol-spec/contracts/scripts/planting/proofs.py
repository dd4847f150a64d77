"""Bugs that the proofs must refute, and the check of proofs/ that must find a counterexample: the text in src/ and what takes its place."""

PLANTED = [
    ("check_R19_R20_share", "parts/Settlement.sol", "return resolved > floor ? resolved : floor;", "return resolved + floor;"),
    ("check_R19_R20_share", "lib/Words.sol", "if (share <= 0) return 0;", "if (share < 0) share = -share;"),
    ("check_R20_sum", "parts/Settlement.sol", "hubBalance = money.total() - clientBalance;", "hubBalance = money.total();"),
    ("check_R19_superseded", "parts/Settlement.sol", "if (!floors.live(payer)) return floor;", ""),
    ("check_R18_finalAt", "parts/Settlement.sol", "if (expiry > end) end = expiry;", ""),
    ("check_R14_withdraw_takes", "parts/Cooperation.sol", "withdrawn + amount : withdrawn + (amount << 128)", "amount : withdrawn + (amount << 128)"),
    ("check_R14_withdraw_raises", "lib/Words.sol", "if (paid_ > old) floors += (paid_ - old) << bit;", "floors += (paid_ - old) << bit;"),
    ("check_R26_deposit_adds", "parts/Funding.sol", "if (received > Words.PAID_MAX) revert TotalTooLarge(received, Words.PAID_MAX);", ""),
    ("check_reserve_moves", "parts/Funding.sol", "held -= amount;", "held -= amount / 2;"),
    ("check_R20_finalize_pays", "parts/Settlement.sol", "vault[config.token][config.hub] += hubBalance;", "vault[config.token][config.hub] = hubBalance;"),
]
