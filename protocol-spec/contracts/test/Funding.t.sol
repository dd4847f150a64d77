// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";

/// Stands at Permit2's address with its signature check and nonces; the real one is not a dependency.
contract Permit2Double {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    mapping(address => mapping(uint256 => bool)) public used;

    function digest(
        PermitTransferFrom memory permit,
        address spender,
        bytes32 witness,
        string memory witnessTypeString
    ) public view returns (bytes32) {
        bytes32 typehash = keccak256(
            abi.encodePacked(
                "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,",
                witnessTypeString
            )
        );
        bytes32 permitted = keccak256(
            abi.encode(keccak256("TokenPermissions(address token,uint256 amount)"), permit.permitted)
        );
        bytes32 structHash =
            keccak256(abi.encode(typehash, permitted, spender, permit.nonce, permit.deadline, witness));
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                address(this)
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", domain, structHash));
    }

    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata s
    ) external {
        require(block.timestamp <= permit.deadline, "expired");
        require(details.requestedAmount <= permit.permitted.amount, "amount");
        require(!used[owner][permit.nonce], "nonce");
        used[owner][permit.nonce] = true;
        bytes32 d = digest(permit, msg.sender, witness, witnessTypeString);
        require(ecrecover(d, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64])) == owner, "signer");
        TestToken(permit.permitted.token).transferFrom(owner, details.to, details.requestedAmount);
    }
}

/// open by ERC-2612, ERC-3009 and Permit2.
contract FundingTest is Base {
    address internal constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;

    function setUp() public override {
        super.setUp();
        vm.prank(alice);
        token.approve(address(adj), 0);
    }

    function _permit(uint256 amount, uint256 deadline) internal view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                alice,
                address(adj),
                amount,
                token.nonces(alice),
                deadline
            )
        );
        return vm.sign(aliceKey, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function test_openWithPermit_takesThePermit() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(70, block.timestamp);
        vm.prank(alice);
        adj.openWithPermit(config, 70, block.timestamp, v, r, s);
        assertEq(_state().total, 70);
    }

    function test_openWithPermit_worksIfPermitFrontRun() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(70, block.timestamp);
        token.permit(alice, address(adj), 70, block.timestamp, v, r, s);
        vm.prank(alice);
        adj.openWithPermit(config, 70, block.timestamp, v, r, s);
        assertEq(_state().total, 70);
    }

    function test_openWithPermit_revertsIfSenderIsNotTheOwner() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(70, block.timestamp);
        address thief = makeAddr("thief");
        vm.prank(thief);
        vm.expectRevert();
        adj.openWithPermit(config, 70, block.timestamp, v, r, s);
    }

    function _authorize(bytes32 channelId, uint256 amount) internal view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 nonce = keccak256(abi.encode(channelId, bytes32(uint256(9))));
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
                ),
                alice,
                address(adj),
                amount,
                uint256(0),
                type(uint256).max,
                nonce
            )
        );
        return vm.sign(aliceKey, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function test_openWithAuthorization_isRelayed() public {
        _fundVault(5);
        (uint8 v, bytes32 r, bytes32 s) = _authorize(id, 70);
        vm.prank(stranger);
        adj.openWithAuthorization(config, alice, 70, 0, type(uint256).max, bytes32(uint256(9)), v, r, s);
        assertEq(_state().clientNet, 70);
        assertEq(token.balanceOf(alice), 1e30 - 70);
        vm.expectRevert();
        adj.openWithAuthorization(config, alice, 70, 0, type(uint256).max, bytes32(uint256(9)), v, r, s);
    }

    /// The nonce binds the channel: a relayer cannot put the money into another one.
    function test_openWithAuthorization_revertsIfChannelDiffers() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorize(id, 70);
        config.client = stranger;
        vm.expectRevert();
        adj.openWithAuthorization(config, alice, 70, 0, type(uint256).max, bytes32(uint256(9)), v, r, s);
    }

    function _permit2(bytes32 channelId, uint256 amount) internal returns (bytes memory) {
        vm.etch(PERMIT2, address(new Permit2Double()).code);
        vm.prank(alice);
        token.approve(PERMIT2, type(uint256).max);
        Permit2Double.PermitTransferFrom memory permit = Permit2Double.PermitTransferFrom(
            Permit2Double.TokenPermissions(address(token), amount), 3, block.timestamp
        );
        bytes32 witness = keccak256(abi.encode(keccak256("ChannelDeposit(bytes32 channelId)"), channelId));
        string memory witnessType =
            "ChannelDeposit witness)ChannelDeposit(bytes32 channelId)TokenPermissions(address token,uint256 amount)";
        return _sign(aliceKey, Permit2Double(PERMIT2).digest(permit, address(adj), witness, witnessType));
    }

    function test_openWithPermit2_isRelayed() public {
        _fundVault(5);
        bytes memory s = _permit2(id, 70);
        vm.prank(stranger);
        adj.openWithPermit2(config, alice, 70, 3, block.timestamp, s);
        assertEq(_state().clientNet, 70);
        assertEq(token.balanceOf(alice), 1e30 - 70);
        vm.expectRevert("nonce");
        adj.openWithPermit2(config, alice, 70, 3, block.timestamp, s);
    }

    function test_openWithPermit2_revertsIfChannelDiffers() public {
        bytes memory s = _permit2(id, 70);
        config.client = stranger;
        vm.expectRevert("signer");
        adj.openWithPermit2(config, alice, 70, 3, block.timestamp, s);
    }

    function test_openWithX_revertsIfNative() public {
        config.token = address(0);
        vm.expectRevert(IAdjudicator.NativeToken.selector);
        adj.openWithPermit(config, 1, 0, 0, 0, 0);
        vm.expectRevert(IAdjudicator.NativeToken.selector);
        adj.openWithAuthorization(config, alice, 1, 0, 0, 0, 0, 0, 0);
        vm.expectRevert(IAdjudicator.NativeToken.selector);
        adj.openWithPermit2(config, alice, 1, 0, 0, "");
    }
}
