//! What an embedded dev chain is made from: identity, clock, limits and the prefunded accounts.

use alloy::primitives::{Address, B256, U256, address, b256};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Gas limit of one transaction after the Osaka hard fork (EIP-7825), 2^24.
pub const TX_GAS_LIMIT_MAX: u64 = 1 << 24;
/// Gas limit of one block.
pub const BLOCK_GAS_LIMIT: u64 = 30_000_000;
/// Base fee of an idle chain, in wei per gas.
pub const BASE_FEE_MIN_WEI: u64 = 1_000_000_000;
/// Chain id when none is asked for; the one that anvil and hardhat use.
pub const CHAIN_ID_DEFAULT: u64 = 31_337;
/// Balance of every dev account at genesis: 10,000 ether, in wei.
pub const DEV_BALANCE_WEI: u128 = 10_000_000_000_000_000_000_000;
/// Genesis time of a chain whose seed was given: fixed, so that the same seed gives the same genesis hash.
const GENESIS_TIMESTAMP_SEEDED_S: u64 = 1_760_000_000;

/// A publicly known development account. Its key is in thousands of repositories: never use it on a real chain.
#[derive(Clone, Copy, Debug)]
pub struct DevAccount {
    /// Address of the account.
    pub address: Address,
    /// Its private key.
    pub private_key: B256,
}

const fn dev(address: Address, private_key: B256) -> DevAccount {
    DevAccount { address, private_key }
}

/// Accounts 0 to 9 of the mnemonic `test test test test test test test test test test test junk`.
pub const DEV_ACCOUNTS: [DevAccount; 10] = [
    dev(
        address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    ),
    dev(
        address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        b256!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    ),
    dev(
        address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        b256!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
    ),
    dev(
        address!("90F79bf6EB2c4f870365E785982E1f101E93b906"),
        b256!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
    ),
    dev(
        address!("15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
        b256!("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
    ),
    dev(
        address!("9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
        b256!("8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    ),
    dev(
        address!("976EA74026E726554dB657fA54763abd0C3a0aa9"),
        b256!("92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"),
    ),
    dev(
        address!("14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
        b256!("4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"),
    ),
    dev(
        address!("23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
        b256!("dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97"),
    ),
    dev(
        address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"),
        b256!("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"),
    ),
];

/// Where the chain reads its time, in seconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that calls `now`; a simulation passes its own.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn wall() -> Self {
        Self::new(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        })
    }

    /// A clock that stands still; only time travel moves the chain.
    #[must_use]
    pub fn fixed(now_s: u64) -> Self {
        Self::new(move || now_s)
    }

    /// The time now, in seconds since the Unix epoch.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_s()).finish()
    }
}

/// How to build an embedded chain.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Salt of the genesis block. `None` draws one, so that two dev chains never look alike;
    /// the same seed (and chain id, time, balances) gives the same genesis hash.
    pub seed: Option<u64>,
    /// Timestamp of the genesis block. `None`: a constant when `seed` is given, else the clock's time.
    pub genesis_timestamp_s: Option<u64>,
    /// Source of block timestamps.
    pub clock: Clock,
    /// Accounts that own something at genesis.
    pub balances: Vec<(Address, U256)>,
    /// Whether a block is mined for every accepted transaction.
    pub automine: bool,
    /// Distance of the tag `safe` from the head; `finalized` is twice as far. anvil's default is 32.
    pub slots_in_an_epoch: u64,
    /// Widest block range that `eth_getLogs` answers, `None` for any; to imitate providers that refuse.
    pub logs_range_max: Option<u64>,
    /// Most logs that `eth_getLogs` returns, `None` for any.
    pub logs_results_max: Option<usize>,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        let balance = U256::from(DEV_BALANCE_WEI);
        Self {
            chain_id: CHAIN_ID_DEFAULT,
            seed: None,
            genesis_timestamp_s: None,
            clock: Clock::wall(),
            balances: DEV_ACCOUNTS
                .iter()
                .map(|account| (account.address, balance))
                .collect(),
            automine: true,
            slots_in_an_epoch: 32,
            logs_range_max: None,
            logs_results_max: None,
        }
    }
}

impl EmbeddedConfig {
    /// A chain that is the same on every run: seeded genesis and a clock that stands still at its time.
    #[must_use]
    pub fn deterministic(seed: u64) -> Self {
        Self {
            seed: Some(seed),
            clock: Clock::fixed(GENESIS_TIMESTAMP_SEEDED_S),
            ..Self::default()
        }
    }

    pub(super) fn genesis_time_s(&self) -> u64 {
        match (self.genesis_timestamp_s, self.seed) {
            (Some(given), _) => given,
            (None, Some(_)) => GENESIS_TIMESTAMP_SEEDED_S,
            (None, None) => self.clock.now_s(),
        }
    }
}
