//! Ranges and relations of the configuration. Every problem is one sentence with key, value and what is allowed.

use super::config::{Config, Reserve};
use crate::session::limits as session;
use protocol_spec::{Address, limits};
use std::{fmt::Display, ops::RangeInclusive};

/// More than anybody ever paid.
const GWEI_MAX: u64 = 1_000_000_000;

/// All problems of `config`; empty when it can be used.
pub(super) fn check(config: &Config) -> Vec<String> {
    let mut problems = Problems(Vec::new());
    server(config, &mut problems);
    chain(config, &mut problems);
    tokens(config, &mut problems);
    locks(config, &mut problems);
    let gas = &config.gas;
    problems.range("gas.stuck_after_blocks", gas.stuck_after_blocks, 1..=1_000);
    let max_fee_gwei = gas.max_fee_gwei.unwrap_or(1);
    problems.range("gas.max_fee_gwei", max_fee_gwei, 1..=GWEI_MAX);
    problems.range("settlement.min_batch", config.settlement.min_batch, 1..=1_000);
    problems.range(
        "settlement.max_wait_s",
        config.settlement.max_wait_s,
        0..=24 * 3600,
    );
    problems.range("fees.flat", config.fees.flat.0, 0..=limits::AMOUNT_MAX);
    problems.range("fees.ppm", config.fees.ppm, 0..=1_000_000);
    let shortest = limits::PAYMENT_LIFE_MAX_S;
    problems.range(
        "retention.retention_s",
        config.retention.retention_s,
        shortest..=10 * 365 * 24 * 3600,
    );
    problems.range(
        "retention.events_per_channel_max",
        config.retention.events_per_channel_max,
        1_000..=1_000_000_000,
    );
    if let Some(max) = config.retention.remembered_max {
        problems.range("retention.remembered_max", max, 100_000..=10_000_000_000);
    }
    backup(config, &mut problems);
    session_limits(config, &mut problems);
    problems.0
}

struct Problems(Vec<String>);

impl Problems {
    fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, allowed: RangeInclusive<T>) {
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            self.0.push(format!("{key}: is {value}, must be {low} to {high}"));
        }
    }

    fn unless(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.0.push(text());
        }
    }
}

fn backup(config: &Config, problems: &mut Problems) {
    let it = &config.backup;
    problems.range("backup.interval_ms", it.interval_ms, 50..=3_600_000);
    problems.range("backup.every_commits", it.every_commits, 1..=50_000);
    problems.range("backup.keep", it.keep, 1..=1_000);
    let Some(dir) = &it.dir else { return };
    problems.unless(!config.is_embedded(), || {
        "backup.dir: the embedded chain is not kept, so there is nothing to restore; leave it out".to_owned()
    });
    let apart = !dir.starts_with(&config.data_dir) && !config.data_dir.starts_with(dir);
    problems.unless(apart, || {
        format!(
            "backup.dir: is {}, must be apart from data_dir, on another disk",
            dir.display()
        )
    });
    let beside = matches!(&it.key, super::SecretRef::File(key) if key.starts_with(dir));
    problems.unless(!beside, || "backup.key: must not lie in backup.dir".to_owned());
}

fn server(config: &Config, problems: &mut Problems) {
    let name = &config.server.name;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:".contains(&byte);
    problems.unless(!name.is_empty() && name.len() <= 253 && name.bytes().all(plain), || {
        format!("server.name: is {name:?}, must be 1 to 253 of a-z, 0-9, dot, dash and colon, as in hub.example")
    });
    let ops = config.ops.listen;
    problems.unless(ops.ip().is_loopback() || config.ops.allow_remote, || {
        format!("ops.listen: is {ops}, must be a loopback address unless ops.allow_remote = true (metrics have no login)")
    });
    problems.unless(ops != config.server.listen || ops.port() == 0, || {
        format!("ops.listen: is {ops}, which is server.listen already")
    });
}

fn chain(config: &Config, problems: &mut Problems) {
    let chain = &config.chain;
    let schemes = ["http://", "https://", "ws://", "wss://"];
    let remote = schemes.iter().any(|scheme| chain.rpc_url.starts_with(scheme));
    // The URL may carry an API key, so it is not repeated.
    problems.unless(remote || config.is_embedded(), || {
        "chain.rpc_url: must be \"embedded\" or start with http://, https://, ws:// or wss://".to_owned()
    });
    let known = |url: &String| schemes.iter().any(|scheme| url.starts_with(scheme));
    problems.unless(chain.more_rpc_urls.iter().all(known), || {
        "chain.more_rpc_urls: each must start with http://, https://, ws:// or wss://".to_owned()
    });
    problems.unless(chain.more_rpc_urls.is_empty() || !config.is_embedded(), || {
        "chain.more_rpc_urls: the embedded chain has no further nodes; set chain.rpc_url".to_owned()
    });
    let nodes = config.rpc_urls().len().max(1);
    problems.unless(
        chain.agree.is_none_or(|agree| (1..=nodes).contains(&agree)),
        || format!("chain.agree: must be 1 to {nodes}, the number of nodes"),
    );
    problems.unless(config.is_embedded() || chain.adjudicator.is_some(), || {
        "chain.adjudicator: is missing; only the embedded chain gets one deployed by the hub".to_owned()
    });
    problems.unless(chain.adjudicator.is_none_or(|address| !address.is_zero()), || {
        "chain.adjudicator: is the zero address, must be the contract's".to_owned()
    });
    problems.range("chain.confirmations", config.confirmations(), 1..=10_000);
    problems.range("chain.poll_interval_ms", chain.poll_interval_ms, 20..=600_000);
    let period = limits::CHALLENGE_PERIOD_MIN_S..=limits::CHALLENGE_PERIOD_MAX_S;
    problems.range("chain.challenge_period_s", chain.challenge_period_s, period);
    problems.range("chain.lag_s", chain.lag_s, 1..=limits::CHALLENGE_PERIOD_MAX_S);
    problems.range("chain.act_s", chain.act_s, 1..=limits::CHALLENGE_PERIOD_MAX_S);
    let needed = chain.lag_s.saturating_add(chain.act_s);
    problems.unless(needed < chain.challenge_period_s, || {
        format!(
            "chain.challenge_period_s: is {}, must be more than lag_s + act_s = {needed}, or a dispute ends before the hub can answer",
            chain.challenge_period_s
        )
    });
}

fn locks(config: &Config, problems: &mut Problems) {
    let (locks, chain) = (&config.locks, &config.chain);
    let needed = chain.lag_s.saturating_add(chain.act_s);
    problems.unless(locks.delta_s >= needed, || {
        format!(
            "locks.delta_s: is {}, must be at least lag_s + act_s = {needed}, or the hub may pay a lock it cannot collect",
            locks.delta_s
        )
    });
    problems.range("locks.life_max_s", locks.life_max_s, 0..=limits::LOCK_LIFE_MAX_S);
    let most = u32::try_from(limits::LOCKS_FROM_CLIENT_MAX).unwrap_or(u32::MAX);
    problems.range("locks.per_client_max", locks.per_client_max, 0..=most);
    problems.range("locks.total_max", locks.total_max, 0..=1_000_000);
    problems.unless(!locks.resolvers.contains(&Address::ZERO), || {
        "locks.resolvers: the zero address is no contract; locks on preimages need no entry".to_owned()
    });
}

fn tokens(config: &Config, problems: &mut Problems) {
    problems.unless(config.is_embedded() || !config.tokens.is_empty(), || {
        "tokens: is empty; a hub on a real chain needs at least one [[tokens]] block".to_owned()
    });
    for (index, token) in config.tokens.iter().enumerate() {
        let twin = config
            .tokens
            .iter()
            .take(index)
            .any(|other| other.address == token.address);
        problems.unless(!twin, || {
            format!("tokens[{index}].address: {} is there twice", token.address)
        });
        for (field, least) in [("lock_min", token.lock_min), ("send_min", token.send_min)] {
            let key = format!("tokens[{index}].{field}");
            problems.range(&key, least.unwrap_or_default().0, 0..=limits::AMOUNT_MAX);
        }
        if let Some(worth) = &token.worth {
            let key = format!("tokens[{index}].worth.units");
            problems.range(&key, worth.units.0, 1..=u128::MAX);
        }
        let Reserve {
            initial,
            low_watermark,
            target,
            high_watermark,
            volume_percent,
            volume_max,
            kept,
        } = &token.reserve;
        let target = target.unwrap_or(*initial);
        let key = |field: &str| format!("tokens[{index}].reserve.{field}");
        problems.range(&key("initial"), initial.0, 0..=limits::AMOUNT_MAX);
        problems.range(&key("target"), target.0, 0..=limits::AMOUNT_MAX);
        problems.range(&key("volume_percent"), *volume_percent, 0..=1_000);
        let volume_max = volume_max.unwrap_or_default().0;
        problems.range(&key("volume_max"), volume_max, 0..=limits::AMOUNT_MAX);
        problems.range(&key("kept"), kept.0, 0..=limits::AMOUNT_MAX);
        problems.unless(*low_watermark <= target, || {
            format!(
                "{}: is {low_watermark}, must be 0 to the target, {target}",
                key("low_watermark")
            )
        });
        let high = high_watermark.unwrap_or_default();
        problems.unless(high.is_zero() || high >= target.max(*initial), || {
            format!(
                "{}: is {high}, must be 0 (never) or at least target and initial, or what was just paid in would be taken back",
                key("high_watermark")
            )
        });
        if let Some(capacity) = &token.capacity {
            let key = |field: &str| format!("tokens[{index}].capacity.{field}");
            problems.range(&key("max"), capacity.max.0, 0..=limits::AMOUNT_MAX);
            problems.range(&key("flat"), capacity.flat.0, 0..=limits::AMOUNT_MAX);
            problems.range(&key("ppm"), capacity.ppm, 0..=1_000_000);
            problems.range(&key("hold_s"), capacity.hold_s, 0..=10 * 365 * 24 * 3600);
        }
        if let Some(fees) = &token.fees {
            problems.range(
                &format!("tokens[{index}].fees.flat"),
                fees.flat.0,
                0..=limits::AMOUNT_MAX,
            );
            problems.range(&format!("tokens[{index}].fees.ppm"), fees.ppm, 0..=1_000_000);
        }
    }
}

fn session_limits(config: &Config, problems: &mut Problems) {
    let it = &config.limits;
    let bytes_min = u32::try_from(session::BYTES_PER_MESSAGE_MAX).unwrap_or(u32::MAX);
    problems.range("limits.connections_max", it.connections_max, 1..=4_000_000);
    problems.range("limits.handshakes_max", it.handshakes_max, 1..=1_000_000);
    problems.range(
        "limits.handshakes_per_address_max",
        it.handshakes_per_address_max,
        1..=1_000_000,
    );
    problems.range("limits.accepts_per_s", it.accepts_per_s, 1..=1_000_000);
    problems.range("limits.messages_per_s", it.messages_per_s, 1..=10_000_000);
    problems.range("limits.messages_burst", it.messages_burst, 1..=10_000_000);
    problems.range("limits.bytes_per_s", it.bytes_per_s, bytes_min..=u32::MAX);
    problems.range("limits.ping_after_s", it.ping_after_s, 1..=3_600);
    problems.range("limits.idle_timeout_s", it.idle_timeout_s, 2..=7_200);
    problems.range("limits.write_deadline_s", it.write_deadline_s, 1..=600);
    problems.unless(it.ping_after_s < it.idle_timeout_s, || {
        format!(
            "limits.idle_timeout_s: is {}, must be more than ping_after_s = {}",
            it.idle_timeout_s, it.ping_after_s
        )
    });
}
