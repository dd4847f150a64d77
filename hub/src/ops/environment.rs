//! Variables that begin with `HUB_`: ours, or set by Kubernetes in each container for a service that is called `hub`.

use std::{env, net::IpAddr};

/// Before every variable of ours.
pub(super) const PREFIX: &str = "HUB_";

/// Names, without the prefix, of what is set that describes a service. The form is recognized by name and value, so nothing
/// that an operator misspelt is among them.
pub(super) fn services() -> Vec<String> {
    set()
        .filter(|(name, value)| is_service(name, value))
        .map(|(name, _)| name)
        .collect()
}

/// The variable that sets the key at this path, or one below it, if one does. For errors.
pub(super) fn setting(path: &[&str]) -> Option<String> {
    let wanted: Vec<String> = path.iter().map(|part| part.to_ascii_uppercase()).collect();
    let sets = |name: &str| {
        let upper = name.to_ascii_uppercase();
        let mut parts = upper.split("__");
        wanted.iter().all(|part| parts.next() == Some(part.as_str()))
    };
    let (name, _) = set().find(|(name, _)| sets(name))?;
    Some(format!("{PREFIX}{name}"))
}

fn set() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        Some((name.strip_prefix(PREFIX)?.to_owned(), value))
    })
}

/// For a service `hub`, or `hub-x` with `X_` before: `SERVICE_HOST`, `SERVICE_PORT`, `SERVICE_PORT_name`, `PORT`,
/// `PORT_80_TCP`, and that with `_PROTO`, `_PORT` or `_ADDR`. Two underscores stand in keys of ours only.
fn is_service(name: &str, value: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    // `X_PORT` is `PORT` of `hub-x`.
    let parts: Vec<&str> = name.split('_').collect();
    (0..parts.len()).any(|from| match parts.get(from..).unwrap_or_default() {
        ["SERVICE", "HOST"] | ["PORT", _, _, "ADDR"] => value.parse::<IpAddr>().is_ok(),
        ["SERVICE", "PORT", ..] | ["PORT", _, _, "PORT"] => value.parse::<u16>().is_ok(),
        ["PORT"] => is_url(value),
        ["PORT", number, protocol] => number.parse::<u16>().is_ok() && is_protocol(protocol) && is_url(value),
        ["PORT", _, _, "PROTO"] => is_protocol(value),
        _ => false,
    })
}

fn is_url(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(protocol, _)| is_protocol(protocol))
}

fn is_protocol(text: &str) -> bool {
    ["tcp", "udp", "sctp"]
        .iter()
        .any(|protocol| text.eq_ignore_ascii_case(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_a_service_is_told_from_what_sets_a_key() {
        let of_services = [
            ("SERVICE_HOST", "10.0.0.11"),
            ("SERVICE_PORT", "9944"),
            ("SERVICE_PORT_WS_DOOR", "9944"),
            ("PORT", "tcp://10.0.0.11:9944"),
            ("PORT_9944_TCP", "tcp://10.0.0.11:9944"),
            ("PORT_9944_TCP_PROTO", "tcp"),
            ("PORT_9944_TCP_PORT", "9944"),
            ("PORT_9944_TCP_ADDR", "fd00::11"),
            ("CHAIN_NODE_SERVICE_HOST", "10.0.0.11"),
            ("CHAIN_NODE_PORT_8545_UDP", "udp://10.0.0.11:8545"),
        ];
        for (name, value) in of_services {
            assert!(is_service(name, value), "{name}={value}");
        }
        let of_operators = [
            ("PORT", "9944"),
            ("SERVER_PORT", "9944"),
            ("DATADIR", "/data"),
            ("DATA_DIRS", "tcp://x"),
            ("SERVICE_HOST", "hub.example"),
            ("SERVER__LISTEN", "127.0.0.1:1"),
            ("SERVER__PORT", "tcp://10.0.0.11:9944"),
            ("PORT_9944", "tcp://10.0.0.11:9944"),
        ];
        for (name, value) in of_operators {
            assert!(!is_service(name, value), "{name}={value}");
        }
    }
}
