//! Files that people hand in: evidence, packages for watchtowers, configurations.

use hub::ops::config::Config;
use protocol_spec::{
    Amount, Domain, Evidence, Package, Side, calls, limits,
    settlement::{Adjudication, Funds},
};
use std::path::Path;

/// What is taken is written the same way again, and can be made into calls without harm.
pub(crate) fn evidence(bytes: &[u8]) {
    if let Ok(evidence) = serde_json::from_slice::<Evidence>(bytes) {
        let text = serde_json::to_vec(&evidence).unwrap();
        let again: Evidence = serde_json::from_slice(&text).unwrap();
        assert_eq!(again, evidence);
        let domain = Domain::new(evidence.chain_id, evidence.adjudicator);
        let mut contract = Adjudication::default();
        for direction in [&evidence.received, &evidence.sent] {
            for payer in [Side::Client, Side::Hub] {
                let _ = calls::evidence(payer, direction);
                if let Some(signed) = &direction.voucher
                    && signed.voucher.check_range().is_ok()
                {
                    let _ = signed.voucher.digest(&domain);
                    contract.submit(payer, &signed.voucher, direction.opening.as_ref());
                }
            }
        }
        let funds = Funds {
            client_deposit: Amount(evidence.deposits.0.0 & limits::AMOUNT_MAX),
            hub_deposit: Amount(evidence.deposits.1.0 & limits::AMOUNT_MAX),
            ..Funds::default()
        };
        let (client, hub) = contract.balances(&funds);
        assert_eq!(client.0 + hub.0, funds.total().0);
    }
    if let Ok(package) = serde_json::from_slice::<Package>(bytes) {
        let text = serde_json::to_vec(&package).unwrap();
        let again: Package = serde_json::from_slice(&text).unwrap();
        assert_eq!(again, package);
        let _ = package.seq();
    }
}

/// A configuration is taken or refused with words.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = Config::parse(text, Path::new("/nowhere")) {
        assert!(!error.to_string().is_empty());
    }
}
