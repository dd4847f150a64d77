//! The hub's configuration: a TOML file, overridden by `HUB_` variables. One that sets no key is an error, but for what
//! Kubernetes sets where a service is called `hub`.
//!
//! Reading and checking are two steps: [`Config::load`] gives types that parsed, [`check`](super::check) gives every
//! value out of range at once. Neither prints what stands under `keys`.

use super::{ConfigError, SecretRef, check, config_error, environment, machine::memory_bytes};
use crate::{engine::Signatures, session::SessionLimits};
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use protocol_spec::{Address, Amount, limits};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The annotated file that `hub init` writes. It is also a test that the defaults parse.
pub const DEFAULT_TEXT: &str = include_str!("hub.toml");

/// The chain inside the process, as `chain.rpc_url`.
pub const EMBEDDED: &str = "embedded";

macro_rules! section {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty),* $(,)? })*) => {
        $($(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* })*
    };
}

section! {
    /// Everything an operator sets. The comments of the default file are the reference.
    pub struct Config {
        /// Where the databases are. Absolute after loading.
        pub data_dir: PathBuf,
        /// The door for clients.
        pub server: Server,
        /// The door for the operator.
        pub ops: Ops,
        /// Logs.
        #[serde(default)]
        pub log: Log,
        /// References to keys.
        pub keys: Keys,
        /// The chain and what the hub demands of it.
        pub chain: Chain,
        /// Tokens served.
        #[serde(default)]
        pub tokens: Vec<Token>,
        /// What a payment costs.
        #[serde(default)]
        pub fees: Fees,
        /// Locked payments.
        #[serde(default)]
        pub locks: Locks,
        /// What transactions may cost.
        #[serde(default)]
        pub gas: Gas,
        /// When the hub moves its reserves.
        #[serde(default)]
        pub liquidity: Liquidity,
        /// When closes and checkpoints are sent.
        #[serde(default)]
        pub settlement: Settlement,
        /// How long ids and events are kept.
        #[serde(default)]
        pub retention: Retention,
        /// What is needed to defend all channels, elsewhere.
        #[serde(default)]
        pub backup: Backup,
        /// Limits of sessions.
        #[serde(default)]
        pub limits: SessionLimits,
        /// How clients' signatures are verified.
        #[serde(default)]
        pub signatures: Signatures,
    }

    /// `[server]`.
    pub struct Server {
        /// Name that clients sign in `Login` and `Register`.
        pub name: String,
        /// Address of the WebSocket door.
        pub listen: SocketAddr,
        /// `Host` headers served; empty: any.
        #[serde(default)]
        pub allowed_hosts: Vec<String>,
        /// `Origin` headers served; empty: any.
        #[serde(default)]
        pub allowed_origins: Vec<String>,
    }

    /// `[ops]`.
    pub struct Ops {
        /// Address of `/metrics`, `/livez`, `/readyz`.
        pub listen: SocketAddr,
        /// Allows an address that is not loopback.
        #[serde(default)]
        pub allow_remote: bool,
    }

    /// `[log]`.
    pub struct Log {
        /// A tracing filter.
        pub filter: String,
    }

    /// `[keys]`. References, never keys.
    pub struct Keys {
        /// Signs vouchers, receipts and co-operative messages.
        pub hub_signer: SecretRef,
        /// Owns the vault, pays for gas.
        pub owner: SecretRef,
    }

    /// `[chain]`.
    pub struct Chain {
        /// `embedded` or the URL of a node.
        pub rpc_url: String,
        /// Further nodes of the same chain.
        #[serde(default)]
        pub more_rpc_urls: Vec<String>,
        /// Nodes that must say the same before it is believed; none: more than half.
        #[serde(default)]
        pub agree: Option<usize>,
        /// The adjudicator; none: deploy one (embedded chain only).
        #[serde(default)]
        pub adjudicator: Option<Address>,
        /// Blocks after which something counts; see [`Config::confirmations`].
        #[serde(default)]
        pub confirmations: Option<u64>,
        /// Milliseconds between looks at the chain.
        #[serde(default = "defaults::poll_interval_ms")]
        pub poll_interval_ms: u64,
        /// Challenge period demanded of channels, seconds.
        #[serde(default = "defaults::challenge_period_s")]
        pub challenge_period_s: u64,
        /// Worst delay of the view of the chain, seconds.
        #[serde(default = "defaults::lag_s")]
        pub lag_s: u64,
        /// Worst time to get a transaction mined, seconds.
        #[serde(default = "defaults::act_s")]
        pub act_s: u64,
    }

    /// `[[tokens]]`.
    pub struct Token {
        /// The ERC-20 contract; zero is the native coin.
        pub address: Address,
        /// What the hub sets aside per channel.
        pub reserve: Reserve,
        /// Most that one client may have in locks at once; none: as much as `reserve.initial`.
        #[serde(default, deserialize_with = "maybe_units")]
        pub locked_max: Option<Amount>,
        /// Least that a lock must carry to be forwarded; none: what defending one costs by `worth`, else a ten-thousandth
        /// of `locked_max`.
        #[serde(default, deserialize_with = "maybe_units")]
        pub lock_min: Option<Amount>,
        /// Least that a withdrawal or close must move for the hub to send it; none: ten times what its gas costs by `worth`,
        /// else a ten-thousandth of `locked_max`.
        #[serde(default, deserialize_with = "maybe_units")]
        pub send_min: Option<Amount>,
        /// What so many base units are worth in wei; none: gas may cost more than what it saves.
        #[serde(default)]
        pub worth: Option<Worth>,
        /// What a payment in this token costs; none: as `[fees]` says.
        #[serde(default)]
        pub fees: Option<Fees>,
        /// Reserve for sale; none: up to ten times the target, for 0.1 %, held for a day.
        #[serde(default)]
        pub capacity: Option<Capacity>,
        /// What may come home to the hub by gathered closes before they are sent; none: any sum.
        #[serde(default, deserialize_with = "maybe_units")]
        pub value_at_risk: Option<Amount>,
        /// A client's payments beyond what the chain knows that make the hub show the newest voucher; none: any sum.
        #[serde(default, deserialize_with = "maybe_units")]
        pub checkpoint_above: Option<Amount>,
    }

    /// `worth`: so many base units for so many wei.
    pub struct Worth {
        /// Base units.
        #[serde(deserialize_with = "units")]
        pub units: Amount,
        /// Wei.
        #[serde(deserialize_with = "units")]
        pub wei: Amount,
    }

    /// Reserve that payees may order: `flat + amount * ppm / 1e6`, rounded up.
    pub struct Capacity {
        /// Most in one order; 0: none is sold.
        #[serde(deserialize_with = "units")]
        pub max: Amount,
        /// Per order, base units.
        #[serde(deserialize_with = "units")]
        pub flat: Amount,
        /// Millionths of the amount.
        pub ppm: u32,
        /// Seconds in which the hub does not ask for it back.
        pub hold_s: u64,
    }

    /// The reserve policy of one token, in its base units.
    pub struct Reserve {
        /// Set aside when a channel is registered.
        #[serde(deserialize_with = "units")]
        pub initial: Amount,
        /// Refilled when the hub's balance in the channel falls below this.
        #[serde(deserialize_with = "units")]
        pub low_watermark: Amount,
        /// Up to this; none: `initial`.
        #[serde(default, deserialize_with = "maybe_units")]
        pub target: Option<Amount>,
        /// Above this the hub takes back what is above the target; 0: never; none: four times the target.
        #[serde(default, deserialize_with = "maybe_units")]
        pub high_watermark: Option<Amount>,
        /// The target is at least this part of what the channel received in a day, percent.
        #[serde(default = "defaults::volume_percent")]
        pub volume_percent: u32,
        /// But no more than this by volume alone; none: four times the target.
        #[serde(default, deserialize_with = "maybe_units")]
        pub volume_max: Option<Amount>,
        /// What first reserves leave in the vault.
        #[serde(default, deserialize_with = "units")]
        pub kept: Amount,
    }

    /// `[liquidity]`.
    pub struct Liquidity {
        /// While gas costs more, wei, what nobody waits for is put off; none: never.
        #[serde(default, deserialize_with = "maybe_units")]
        pub gas_price_max_wei: Option<Amount>,
        /// Takes back what is above the high watermarks.
        #[serde(default = "defaults::release")]
        pub release: bool,
    }

    /// `[settlement]`.
    pub struct Settlement {
        /// Closes that are enough for a batch, while gas is not too expensive.
        #[serde(default = "defaults::min_batch")]
        pub min_batch: usize,
        /// No close waits longer, seconds.
        #[serde(default = "defaults::max_wait_s")]
        pub max_wait_s: u64,
        /// While gas costs more, wei, batches wait for another reason; none: it never matters.
        #[serde(default, deserialize_with = "maybe_units")]
        pub gas_price_max_wei: Option<Amount>,
    }

    /// `[fees]`: `flat + amount * ppm / 1e6`, rounded up.
    pub struct Fees {
        /// Per payment, base units.
        #[serde(deserialize_with = "units")]
        pub flat: Amount,
        /// Millionths of the amount.
        pub ppm: u32,
    }

    /// `[locks]`: what the hub forwards (R22).
    pub struct Locks {
        /// How much earlier the hub's lock expires than the payer's, seconds.
        #[serde(default = "defaults::delta_s")]
        pub delta_s: u64,
        /// Longest life of a payer's lock, seconds.
        #[serde(default = "defaults::lock_life_max_s")]
        pub life_max_s: u64,
        /// Forwarded locks of one client at once.
        #[serde(default = "defaults::locks_per_client_max")]
        pub per_client_max: u32,
        /// Forwarded locks in all at once.
        #[serde(default = "defaults::locks_total_max")]
        pub total_max: u32,
        /// Resolvers whose locks are forwarded.
        #[serde(default)]
        pub resolvers: Vec<Address>,
    }

    /// `[gas]`: what transactions may cost.
    pub struct Gas {
        /// Most gwei per gas; none: whatever blocks ask for.
        #[serde(default)]
        pub max_fee_gwei: Option<u64>,
        /// Blocks without a transaction after which it offers more.
        #[serde(default = "defaults::stuck_after_blocks")]
        pub stuck_after_blocks: u64,
        /// Wei that any transaction may cost, however little it saves.
        #[serde(default = "defaults::floor_wei", deserialize_with = "units")]
        pub floor_wei: Amount,
    }

    /// `[backup]`.
    pub struct Backup {
        /// Where to; none: no backup. Absolute after loading.
        #[serde(default)]
        pub dir: Option<PathBuf>,
        /// What seals it.
        #[serde(default = "defaults::backup_key")]
        pub key: SecretRef,
        /// Longest time between exports, milliseconds.
        #[serde(default = "defaults::backup_interval_ms")]
        pub interval_ms: u64,
        /// Commits after which an export does not wait.
        #[serde(default = "defaults::backup_every_commits")]
        pub every_commits: u64,
        /// Complete generations kept.
        #[serde(default = "defaults::backup_keep")]
        pub keep: usize,
    }

    /// `[retention]`.
    pub struct Retention {
        /// Seconds that payment ids and events are kept.
        #[serde(default = "defaults::retention_s")]
        pub retention_s: u64,
        /// Events kept per channel.
        #[serde(default = "defaults::events_per_channel_max")]
        pub events_per_channel_max: u64,
        /// Payment ids and events that all channels keep together. `None`: see [`Retention::remembered_max`].
        pub remembered_max: Option<u64>,
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
        }
    }
}
impl Default for Fees {
    fn default() -> Self {
        Self {
            flat: Amount::ZERO,
            ppm: 0,
        }
    }
}
impl Default for Locks {
    fn default() -> Self {
        Self {
            delta_s: defaults::delta_s(),
            life_max_s: defaults::lock_life_max_s(),
            per_client_max: defaults::locks_per_client_max(),
            total_max: defaults::locks_total_max(),
            resolvers: Vec::new(),
        }
    }
}
impl Default for Gas {
    fn default() -> Self {
        Self {
            max_fee_gwei: None,
            stuck_after_blocks: defaults::stuck_after_blocks(),
            floor_wei: defaults::floor_wei(),
        }
    }
}
impl Default for Backup {
    fn default() -> Self {
        Self {
            dir: None,
            key: defaults::backup_key(),
            interval_ms: defaults::backup_interval_ms(),
            every_commits: defaults::backup_every_commits(),
            keep: defaults::backup_keep(),
        }
    }
}
impl Default for Liquidity {
    fn default() -> Self {
        Self {
            gas_price_max_wei: None,
            release: defaults::release(),
        }
    }
}
impl Default for Settlement {
    fn default() -> Self {
        Self {
            min_batch: defaults::min_batch(),
            max_wait_s: defaults::max_wait_s(),
            gas_price_max_wei: None,
        }
    }
}
impl Default for Retention {
    fn default() -> Self {
        Self {
            retention_s: defaults::retention_s(),
            events_per_channel_max: defaults::events_per_channel_max(),
            remembered_max: None,
        }
    }
}

/// What is counted takes so much memory at most, bytes. Ids and events take half of it, by what was measured for a payment, which
/// has one of each; the newest 64 of each channel take more, and vouchers that nobody has acknowledged all of it.
const REMEMBERED_BYTES: u64 = 130;
/// Ids and events take this part of the memory as a rule, and three times as much at worst, unless the configuration says otherwise.
const REMEMBERED_PART: u64 = 6;
/// Where it cannot be told how much memory there is.
const MEMORY_BYTES: u64 = 8 << 30;

impl Retention {
    /// Payment ids and events that all channels keep together: as configured, or what a sixth of the memory that this
    /// process may use has room for.
    #[must_use]
    pub fn remembered_max(&self) -> u64 {
        let fitting = |memory: u64| memory / (REMEMBERED_PART * REMEMBERED_BYTES);
        self.remembered_max
            .unwrap_or_else(|| fitting(memory_bytes().unwrap_or(MEMORY_BYTES)))
    }
}

mod defaults {
    use super::{Amount, limits};
    use crate::{chain::ChainOptions, driver::Budget};

    pub(super) fn stuck_after_blocks() -> u64 {
        ChainOptions::default().stuck_after_blocks
    }
    pub(super) fn floor_wei() -> Amount {
        Amount(Budget::default().floor_wei)
    }

    pub(super) fn poll_interval_ms() -> u64 {
        1000
    }
    pub(super) fn challenge_period_s() -> u64 {
        24 * 3600
    }
    pub(super) fn lag_s() -> u64 {
        limits::LAG_DEFAULT_S
    }
    pub(super) fn act_s() -> u64 {
        limits::ACT_DEFAULT_S
    }
    pub(super) fn delta_s() -> u64 {
        limits::DELTA_DEFAULT_S
    }
    pub(super) fn lock_life_max_s() -> u64 {
        24 * 3600
    }
    pub(super) fn locks_per_client_max() -> u32 {
        64
    }
    pub(super) fn locks_total_max() -> u32 {
        9_000
    }
    pub(super) fn backup_key() -> super::SecretRef {
        super::SecretRef::File("keys/backup.key".into())
    }
    pub(super) fn backup_interval_ms() -> u64 {
        1000
    }
    pub(super) fn backup_every_commits() -> u64 {
        1000
    }
    pub(super) fn backup_keep() -> usize {
        2
    }
    pub(super) fn volume_percent() -> u32 {
        50
    }
    pub(super) fn release() -> bool {
        true
    }
    pub(super) fn min_batch() -> usize {
        1
    }
    pub(super) fn max_wait_s() -> u64 {
        300
    }
    pub(super) fn retention_s() -> u64 {
        7 * 24 * 3600
    }
    pub(super) fn events_per_channel_max() -> u64 {
        1_000_000
    }
}

/// An amount as a decimal string, or as a number where the environment made one of it.
fn units<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    struct Units;
    impl de::Visitor<'_> for Units {
        type Value = Amount;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an amount in base units, as a string of decimal digits")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
            text.parse()
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
            Ok(Amount(number.into()))
        }
        fn visit_u128<E: de::Error>(self, number: u128) -> Result<Amount, E> {
            Ok(Amount(number))
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
            u64::try_from(number)
                .map(|number| Amount(number.into()))
                .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
        }
    }
    deserializer.deserialize_any(Units)
}

fn maybe_units<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    units(deserializer).map(Some)
}

impl Config {
    /// Reads `path`, applies `HUB_` variables, checks all ranges.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let problem = |text: String| ConfigError { problems: vec![text] };
        if !path.is_file() {
            let text = format!("{} does not exist; `hub init` writes one", path.display());
            return Err(problem(text));
        }
        let path = path
            .canonicalize()
            .map_err(|error| problem(format!("{}: {error}", path.display())))?;
        let base = path.parent().unwrap_or(Path::new("/"));
        // HUB_SECRET_* names are for secrets ("env:HUB_SECRET_X"), not for keys of this file.
        let services = environment::services();
        let environment = Env::prefixed(environment::PREFIX)
            .filter(move |key| {
                !key.starts_with("SECRET_")
                    && !services
                        .iter()
                        .any(|name| key.as_str().eq_ignore_ascii_case(name))
            })
            .split("__");
        let figment = Figment::from(Toml::file_exact(&path)).merge(environment);
        Self::extract(&figment, base)
    }

    /// Parses `text` alone, with paths relative to `base`. For tests and tools.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        Self::extract(&Figment::from(Toml::string(text)), base)
    }

    fn extract(figment: &Figment, base: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = figment.extract().map_err(|error| ConfigError {
            problems: error
                .into_iter()
                .map(|error| config_error::describe(&error))
                .collect(),
        })?;
        config.data_dir = base.join(&config.data_dir);
        config.keys.hub_signer.resolve_relative_to(base);
        config.keys.owner.resolve_relative_to(base);
        config.backup.key.resolve_relative_to(base);
        config.backup.dir = config.backup.dir.map(|dir| base.join(dir));
        let problems = check(&config);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(ConfigError { problems }),
        }
    }

    /// Blocks after which something counts: what is configured, or 1 on the embedded chain and 12 on a real one.
    #[must_use]
    pub fn confirmations(&self) -> u64 {
        let default = if self.is_embedded() {
            1
        } else {
            limits::CONFIRMATIONS_DEFAULT
        };
        self.chain.confirmations.unwrap_or(default)
    }

    /// The chain's nodes, in order; empty when the chain runs inside the process.
    #[must_use]
    pub fn rpc_urls(&self) -> Vec<&str> {
        let first = (!self.is_embedded()).then_some(&self.chain.rpc_url);
        let all = first.into_iter().chain(&self.chain.more_rpc_urls);
        all.map(String::as_str).collect()
    }

    /// True when the chain runs inside the process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.chain.rpc_url == EMBEDDED
    }
}
