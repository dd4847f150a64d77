// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {HostileToken} from "./hostile/Hostile.sol";

/// Drives three channels (two of a token that may blacklist the client, one native) through every verb in any order.
/// Calls that the contract refuses are counted apart, so that the invariants are known to see real work.
contract Handler is Base {
    HostileToken internal bad;
    Config[3] internal configs;
    mapping(bytes32 => uint256) public done;

    mapping(bytes32 => uint64) public seqSeen;
    mapping(bytes32 => uint256) public withdrawnSeen;
    mapping(bytes32 => bool) public closedSeen;
    mapping(bytes32 => uint64[2]) internal issued;
    mapping(bytes32 => uint128[2]) internal paidOut;
    mapping(bytes32 => Lock[][2]) internal locksAt;

    constructor() {
        setUp();
        bad = new HostileToken();
        for (uint256 i = 0; i < 2; ++i) {
            address who = i == 0 ? alice : hub;
            bad.mint(who, 1e30);
            vm.prank(who);
            bad.approve(address(adj), type(uint256).max);
            vm.deal(who, 1e24);
        }
        for (uint256 i = 0; i < 3; ++i) {
            configs[i] = config;
            configs[i].salt = bytes32(i);
            configs[i].token = i == 2 ? address(0) : address(bad);
        }
    }

    function adjudicator() external view returns (IAdjudicator) {
        return adj;
    }

    function tokens() public view returns (address[2] memory) {
        return [address(bad), address(0)];
    }

    function ids() public view returns (bytes32[3] memory all) {
        for (uint256 i = 0; i < 3; ++i) {
            all[i] = adj.channelIdOf(configs[i]);
        }
    }

    function tokenOf(uint256 i) external view returns (address) {
        return configs[i].token;
    }

    function client() external view returns (address) {
        return alice;
    }

    function theHub() external view returns (address) {
        return hub;
    }

    modifier on(uint256 which) {
        config = configs[which % 3];
        id = adj.channelIdOf(config);
        _;
        _observe();
    }

    function _ok(bytes32 verb) internal {
        ++done[verb];
    }

    /// What may only grow is compared after every call.
    function _observe() internal {
        ChannelState memory s = _state();
        bytes32 c = keccak256(abi.encode(id, "client"));
        bytes32 h = keccak256(abi.encode(id, "hub"));
        require(s.clientSeq >= seqSeen[c] && s.hubSeq >= seqSeen[h], "seq fell");
        require(s.clientWithdrawn >= withdrawnSeen[c] && s.hubWithdrawn >= withdrawnSeen[h], "withdrawn fell");
        require(!closedSeen[id] || (s.status == Status.Closed && s.total == 0), "closed is final");
        (seqSeen[c], seqSeen[h]) = (s.clientSeq, s.hubSeq);
        (withdrawnSeen[c], withdrawnSeen[h]) = (s.clientWithdrawn, s.hubWithdrawn);
        if (s.status == Status.Closed) closedSeen[id] = true;
    }

    /// A closed channel stays closed: the next one has another salt.
    function open(uint256 which, uint96 amount) external on(which) {
        amount = amount % 1e6;
        bool again = _state().status == Status.Closed;
        if (again) {
            config.salt = bytes32(uint256(config.salt) + 3);
            configs[which % 3] = config;
            id = adj.channelIdOf(config);
        }
        vm.prank(alice);
        try adj.open{value: config.token == address(0) ? amount : 0}(config, amount) {
            _ok(again ? bytes32("open again") : bytes32("open"));
        } catch {}
    }

    function fund(uint256 which, uint96 amount) external on(which) {
        amount = amount % 1e6;
        vm.prank(hub);
        adj.fundVault{value: config.token == address(0) ? amount : 0}(hub, config.token, amount);
        _ok("fund");
    }

    function reserve(uint256 which, uint96 amount) external on(which) {
        uint256 held = adj.vault(config.token, hub);
        uint256 before = _state().total;
        _reserve(uint128(amount % (held + 1)));
        if (_state().total > before) _ok("reserve");
    }

    /// Channels of this hub that a stranger opens, with signers of his own, get nothing of its vault.
    function invent(uint256 which, uint96 amount, bytes32 salt) external on(which) {
        Config memory invented = config;
        (invented.client, invented.clientSigner, invented.hubSigner) = (stranger, alice, stranger);
        invented.salt = keccak256(abi.encode(salt));
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(stranger, alice, invented.salt, uint128(amount % 1e6));
        HubSide memory side = HubSide(hub, stranger, invented.token, invented.challengePeriodS);
        vm.startPrank(stranger);
        try adj.open(invented, 0) {
            _ok("invent");
        } catch {}
        bool reserved;
        try adj.reserve(side, items) {
            reserved = true;
        } catch {}
        vm.stopPrank();
        require(!reserved, "a stranger moved the vault");
    }

    function withdrawVault(uint256 which, uint96 amount) external on(which) {
        uint256 held = adj.vault(config.token, hub);
        vm.prank(hub);
        adj.withdrawVault(config.token, amount % (held + 1), hub);
        _ok("withdrawVault");
    }

    function _next(uint8 payer, uint128 amount) internal returns (Submission memory) {
        uint64 seq = ++issued[id][payer];
        paidOut[id][payer] += amount;
        return _voucher(payer, seq, paidOut[id][payer], issued[id][1 - payer], paidOut[id][1 - payer]);
    }

    function submit(uint256 which, bool byHub, uint96 amount) external on(which) {
        Submission memory s = _next(byHub ? HUB : CLIENT, uint128(amount % 1e5));
        vm.prank(byHub ? alice : hub);
        try adj.submit(config, _list(s), _noLocks()) {
            _ok("submit");
        } catch {}
    }

    function submitLocks(uint256 which, bool byHub, uint96 amount, uint64 life) external on(which) {
        uint8 payer = byHub ? HUB : CLIENT;
        Submission memory s = _next(payer, 0);
        Lock[] memory locks = _two(
            _lock(1, uint128(amount % 1e5), _now() + 1 + life % 3 days), _lock(s.seq + 1, 7, _now() + 1 + life % 1 days)
        );
        delete locksAt[id][payer];
        locksAt[id][payer].push(locks[0]);
        locksAt[id][payer].push(locks[1]);
        s = _withLocks(s, locks);
        vm.prank(byHub ? alice : hub);
        try adj.submit(config, _list(s), _noLocks()) {
            _ok("submitLocks");
        } catch {}
    }

    function resolve(uint256 which, bool byHub) external on(which) {
        uint8 payer = byHub ? HUB : CLIENT;
        if (locksAt[id][payer].length == 0) return;
        Resolution memory r = _resolveAll(payer, locksAt[id][payer]);
        vm.prank(byHub ? alice : hub);
        try adj.submit(config, _noVouchers(), _list(r)) {
            _ok("resolve");
        } catch {}
    }

    function dispute(uint256 which) external on(which) {
        vm.prank(alice);
        try adj.dispute(config, _noVouchers(), _noLocks()) {
            _ok("dispute");
        } catch {}
    }

    function cancel(uint256 which) external on(which) {
        CancelDispute memory m = CancelDispute(id, _state().disputeNo, _now());
        (bytes memory c, bytes memory h) = _bothSign(adj.cancelDisputeDigest(m));
        try adj.cancelDispute(config, m, c, h) {
            _ok("cancel");
        } catch {}
    }

    function withdraw(uint256 which, bool byHub, uint96 amount) external on(which) {
        ChannelState memory s = _state();
        if (s.total == 0) return;
        uint128 take = uint128(1 + amount % s.total);
        Withdraw memory m = Withdraw(
            id,
            byHub ? HUB : CLIENT,
            (byHub ? s.hubWithdrawn : s.clientWithdrawn) + take,
            s.clientSeq,
            s.clientPaid,
            s.hubSeq,
            s.hubPaid,
            _now()
        );
        (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(m));
        try adj.withdraw(config, m, c, h) {
            _ok("withdraw");
        } catch {}
    }

    /// Both channels of one token in one batch, either side of each, by their newest numbers or, rarely, with a fault.
    function withdrawMany(uint256 which, uint8 sides, uint96 amount, uint8 fault) external on(which) {
        uint256 last = which % 3 == 2 ? 2 : 1;
        uint256 first = last == 2 ? 2 : 0;
        ClientWithdraw[] memory items = new ClientWithdraw[](2 + last - first);
        for (uint256 i = 0; i < items.length; ++i) {
            // the last item once more: never newer than itself
            uint256 at = first + i > last ? last : first + i;
            config = configs[at];
            id = adj.channelIdOf(config);
            items[i] = _withdrawItem((sides >> at) & 1 == 0 ? CLIENT : HUB, amount);
        }
        if (fault % 8 == 0) items[0].hubSignature.r = 0;
        uint256 owed = adj.vault(config.token, hub);
        uint256[3] memory totals = _totals();
        // the push asks for gas; nothing else of a batch reverts
        adj.withdrawMany(_side(), items);
        uint256[3] memory left = _totals();
        uint256 took;
        for (uint256 i = 0; i < 3; ++i) {
            require(left[i] <= totals[i], "a total grew");
            if (left[i] < totals[i]) ++took;
        }
        require(adj.vault(config.token, hub) >= owed, "the vault fell");
        if (took > 0) _ok("withdrawMany");
        if (took > 1) _ok("withdrawMany of two");
    }

    function _totals() internal view returns (uint256[3] memory totals) {
        bytes32[3] memory all = ids();
        for (uint256 i = 0; i < 3; ++i) {
            totals[i] = adj.channel(all[i]).total;
        }
    }

    function _withdrawItem(uint8 side, uint96 amount) internal view returns (ClientWithdraw memory item) {
        ChannelState memory s = _state();
        // now and then more than there is
        uint128 total = (side == HUB ? s.hubWithdrawn : s.clientWithdrawn) + uint128(1 + amount % (s.total + s.total / 8 + 1));
        Withdraw memory m = Withdraw(id, side, total, s.clientSeq, s.clientPaid, s.hubSeq, s.hubPaid, _now());
        (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(m));
        item = ClientWithdraw(
            config.client,
            config.clientSigner,
            config.salt,
            side,
            total,
            s.clientSeq,
            s.clientPaid,
            s.hubSeq,
            s.hubPaid,
            m.deadline,
            _compact(c),
            _compact(h)
        );
    }

    function close(uint256 which, uint96 split, uint8 rarely) external on(which) {
        if (rarely % 4 != 0) return;
        ChannelState memory s = _state();
        uint128 mine = uint128(split % (s.total + 1));
        uint128 clientDeposit = uint128(int128(s.clientWithdrawn) + s.clientNet);
        uint128 hubDeposit = uint128(int128(s.total + s.hubWithdrawn) - s.clientNet);
        Close memory m = Close(id, clientDeposit, hubDeposit, mine, s.total - mine, _now());
        (bytes memory c, bytes memory h) = _bothSign(adj.closeDigest(m));
        try adj.close(config, m, c, h) {
            _ok("close");
        } catch {}
    }

    function finalize(uint256 which) external on(which) {
        (uint256 c, uint256 h) = adj.balances(id);
        uint256 total = _state().total;
        require(c + h == total, "conservation");
        try adj.finalize(config) {
            _ok("finalize");
        } catch {}
    }

    function claim(uint256 which) external on(which) {
        vm.prank(alice);
        try adj.claim(config.token, stranger) {
            _ok("claim");
        } catch {}
    }

    function blacklist(bool yes) external {
        bad.blacklist(yes ? alice : address(0));
    }

    function wait_(uint32 time) external {
        vm.warp(block.timestamp + time % 1 days);
    }
}

contract InvariantTest is Test {
    Handler internal handler;
    IAdjudicator internal adj;

    function setUp() public {
        vm.warp(1_800_000_000);
        handler = new Handler();
        adj = handler.adjudicator();
        targetContract(address(handler));
        bytes4[] memory selectors = new bytes4[](17);
        selectors[0] = Handler.open.selector;
        selectors[1] = Handler.fund.selector;
        selectors[2] = Handler.reserve.selector;
        selectors[3] = Handler.withdrawVault.selector;
        selectors[4] = Handler.submit.selector;
        selectors[5] = Handler.submitLocks.selector;
        selectors[6] = Handler.resolve.selector;
        selectors[7] = Handler.dispute.selector;
        selectors[8] = Handler.cancel.selector;
        selectors[9] = Handler.withdraw.selector;
        selectors[10] = Handler.close.selector;
        selectors[11] = Handler.finalize.selector;
        selectors[12] = Handler.claim.selector;
        selectors[13] = Handler.blacklist.selector;
        selectors[14] = Handler.wait_.selector;
        selectors[15] = Handler.withdrawMany.selector;
        selectors[16] = Handler.invent.selector;
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    /// What the contract holds is exactly what it owes: channels, vaults, claims.
    function invariant_conservation() public view {
        address[2] memory tokens = handler.tokens();
        bytes32[3] memory ids = handler.ids();
        for (uint256 t = 0; t < 2; ++t) {
            address token = tokens[t];
            uint256 owed = adj.vault(token, handler.theHub()) + adj.claimable(token, handler.client());
            for (uint256 i = 0; i < 3; ++i) {
                if (handler.tokenOf(i) == token) owed += adj.channel(ids[i]).total;
            }
            uint256 held = token == address(0) ? address(adj).balance : HostileToken(token).balanceOf(address(adj));
            assertEq(held, owed);
        }
    }

    /// Both shares are of the total, and a window is bounded by R6 and R18 (F2).
    function invariant_sharesAndWindows() public view {
        bytes32[3] memory ids = handler.ids();
        for (uint256 i = 0; i < 3; ++i) {
            ChannelState memory s = adj.channel(ids[i]);
            (uint256 c, uint256 h) = adj.balances(ids[i]);
            assertEq(c + h, s.total);
            assertEq(s.windowEnd != 0, s.status == Status.Disputed);
            if (s.clientLocks.live) assertLe(s.clientLocks.base, s.clientPaid);
        }
    }

    /// The invariants above see every verb succeed, not only be refused.
    function test_handler_reachesEveryVerb() public {
        bytes32[17] memory verbs = [
            bytes32("open"), "fund", "reserve", "withdrawVault", "submit", "submitLocks", "resolve", "dispute", "cancel",
            "withdraw", "close", "finalize", "claim", "withdrawMany", "withdrawMany of two", "open again", "invent"
        ];
        for (uint256 round = 0; round < 30; ++round) {
            uint256 snapshot = vm.snapshotState();
            bytes32[17] memory missing = verbs;
            _drive(round);
            invariant_conservation();
            invariant_sharesAndWindows();
            for (uint256 i = 0; i < 17; ++i) {
                if (handler.done(missing[i]) != 0) seen[missing[i]] = true;
            }
            bool[17] memory flags;
            for (uint256 i = 0; i < 17; ++i) {
                flags[i] = seen[verbs[i]];
            }
            vm.revertToState(snapshot);
            for (uint256 i = 0; i < 17; ++i) {
                seen[verbs[i]] = flags[i];
            }
        }
        for (uint256 i = 0; i < 17; ++i) {
            assertTrue(seen[verbs[i]], string(abi.encodePacked(verbs[i])));
        }
    }

    mapping(bytes32 => bool) internal seen;

    function _drive(uint256 seed) internal {
        for (uint256 step = 0; step < 120; ++step) {
            uint256 r = uint256(keccak256(abi.encode(seed, step)));
            uint256 w = r >> 8;
            uint96 a = uint96(r >> 16);
            uint256 verb = r % 18;
            if (verb == 0) handler.open(w, a);
            else if (verb == 1) handler.fund(w, a);
            else if (verb == 2) handler.reserve(w, a);
            else if (verb == 3) handler.withdrawVault(w, a);
            else if (verb == 4) handler.submit(w, a & 1 == 0, a);
            else if (verb == 5) handler.submitLocks(w, a & 1 == 0, a, uint64(a));
            else if (verb == 6) handler.resolve(w, a & 1 == 0);
            else if (verb == 7) handler.dispute(w);
            else if (verb == 8) handler.cancel(w);
            else if (verb == 9) handler.withdraw(w, a & 1 == 0, a);
            else if (verb == 10) handler.close(w, a, uint8(a));
            else if (verb == 11) handler.finalize(w);
            else if (verb == 12) handler.claim(w);
            else if (verb == 13) handler.blacklist(a & 1 == 0);
            else if (verb == 14) handler.withdrawMany(w, uint8(a), a, uint8(a >> 8));
            else if (verb == 15) handler.invent(w, a, bytes32(r));
            else handler.wait_(uint32(a));
        }
    }
}
