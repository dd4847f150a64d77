//! Who plays: fixed keys, the chain with the adjudicator on it, and the facts of one sequence's channel.

use alloy::primitives::{Address, Bytes, U256, address, keccak256};
use protocol_spec::{Config, Digest, Domain, PublicKey, Side, SignerKey};
use tests::evm::{ADJUDICATOR_JSON, Checkpoint, Evm, creation_bytecode};

pub(crate) const CHAIN_ID: u64 = 31_337;
/// Chain time at which every sequence begins.
pub(crate) const START_S: u64 = 1_800_000_000;
/// Coin in the world: all of it with the funder at first.
pub(crate) const WORLD_COIN: u128 = 1 << 100;
/// Pays all deposits and calls what anybody may call.
pub(crate) const FUNDER: Address = address!("00000000000000000000000000000000000f0001");
/// Neither a party nor a funder.
pub(crate) const STRANGER: Address = address!("00000000000000000000000000000000000f0002");
/// A client account that is a contract and takes no coin.
pub(crate) const REFUSER: Address = address!("00000000000000000000000000000000000f0003");
/// A resolver that says yes to everything.
pub(crate) const RESOLVER: Address = address!("00000000000000000000000000000000000f0004");
/// A resolver without code: never a yes.
pub(crate) const NO_RESOLVER: Address = address!("00000000000000000000000000000000000f0005");

const REVERT: &[u8] = &[0x5f, 0x5f, 0xfd];
const RETURN_ONE: &[u8] = &[0x60, 1, 0x5f, 0x52, 0x60, 32, 0x5f, 0xf3];

/// A key and what follows from it.
pub(crate) struct Player {
    pub(crate) key: SignerKey,
    pub(crate) public: PublicKey,
    pub(crate) address: Address,
}

impl Player {
    fn new(name: &str) -> Self {
        let key = SignerKey::from_bytes(&keccak256(name).0).unwrap();
        Self {
            public: key.public(),
            address: key.address(),
            key,
        }
    }
}

/// The machine with the adjudicator deployed, and the players.
pub(crate) struct Chain {
    pub(crate) evm: Evm,
    pub(crate) adjudicator: Address,
    pub(crate) domain: Domain,
    pub(crate) accounts: [Player; 2],
    pub(crate) signers: [Player; 2],
    pub(crate) stranger: Player,
    fresh: Checkpoint,
}

impl Chain {
    /// Deploys the committed bytecode.
    pub(crate) fn new() -> Self {
        let mut evm = Evm::new(CHAIN_ID);
        evm.put_account(FUNDER, U256::from(WORLD_COIN), Bytes::new());
        evm.put_account(REFUSER, U256::ZERO, Bytes::from_static(REVERT));
        evm.put_account(RESOLVER, U256::ZERO, Bytes::from_static(RETURN_ONE));
        let bytecode = creation_bytecode(ADJUDICATOR_JSON).unwrap();
        let adjudicator = evm.create(STRANGER, bytecode).unwrap();
        Self {
            fresh: evm.checkpoint(),
            evm,
            adjudicator,
            domain: Domain::new(CHAIN_ID, adjudicator),
            accounts: [Player::new("client account"), Player::new("hub account")],
            signers: [Player::new("client signer"), Player::new("hub signer")],
            stranger: Player::new("stranger"),
        }
    }

    /// Back to the state just after the deployment.
    pub(crate) fn reset(&mut self) {
        self.evm.restore(&self.fresh);
        self.evm.set_time(START_S);
    }

    /// The channel of one sequence. `refuser`: the client's account is [`REFUSER`].
    pub(crate) fn config(&self, salt: u64, challenge_period_s: u64, refuser: bool) -> Config {
        let [client, hub] = &self.accounts;
        Config {
            client: if refuser { REFUSER } else { client.address },
            client_signer: self.signers[0].address,
            hub: hub.address,
            hub_signer: self.signers[1].address,
            token: Address::ZERO,
            challenge_period_s,
            salt: Digest(keccak256(salt.to_be_bytes()).0),
        }
    }

    /// The signer of a side.
    pub(crate) fn signer(&self, side: Side) -> &Player {
        &self.signers[usize::from(side.index())]
    }

    /// The account of a side, where a key owns it.
    pub(crate) fn account(&self, side: Side) -> &Player {
        &self.accounts[usize::from(side.index())]
    }
}
