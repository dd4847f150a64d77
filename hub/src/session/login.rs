//! Login: a challenge for one connection, cheap checks first, one recovery, and a budget for those who fail.

use super::{bucket::Bucket, gate::Origin, limits};
use protocol_spec::{
    Address, Digest, Domain, Login, PublicKey,
    message::{ErrorCode, HubInfo, LoginCall, RpcError},
};
use rand::RngCore;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What a client signs to log in to the hub of `info` over subprotocol `protocol`.
#[must_use]
pub fn login_digest(info: &HubInfo, nonce: Digest, signer: Address, protocol: &str) -> Digest {
    let login = Login {
        server: info.server.clone(),
        nonce,
        signer,
        protocol: protocol.to_owned(),
    };
    login.digest(&Domain::new(info.chain_id, info.adjudicator))
}

/// One connection's challenge and failures. The challenge takes any number of signers while it is alive: a signature
/// binds its signer and this connection's nonce, so it is worth nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Challenger {
    nonce: Option<(Digest, Instant)>,
    failures: u32,
}

impl Challenger {
    /// No challenge yet.
    pub(crate) fn new() -> Self {
        Self {
            nonce: None,
            failures: 0,
        }
    }

    /// A fresh nonce; the one before it is void.
    pub(crate) fn challenge(&mut self, now: Instant) -> Digest {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        self.nonce = Some((Digest(bytes), now));
        Digest(bytes)
    }

    /// Errors: `LoginFailed`; a new challenge is due.
    pub(crate) fn require_alive(&self, now: Instant) -> Result<Digest, RpcError> {
        let (nonce, issued) = self.nonce.ok_or_else(|| failed("no challenge is open"))?;
        match now.saturating_duration_since(issued) <= limits::NONCE_LIFE {
            true => Ok(nonce),
            false => Err(failed(
                "the challenge has expired; sign the new one, which follows",
            )),
        }
    }

    /// Checks a login. Errors: `LoginFailed`, with what was wrong.
    pub(crate) fn check(
        &mut self,
        info: &HubInfo,
        protocol: &str,
        call: &LoginCall,
        now: Instant,
    ) -> Result<PublicKey, RpcError> {
        let result = self.checked(info, protocol, call, now);
        if result.is_err() {
            self.failures = self.failures.saturating_add(1);
        }
        result
    }

    /// True when the connection has failed too often.
    pub(crate) fn spent(&self) -> bool {
        self.failures >= limits::LOGIN_FAILURES_MAX
    }

    fn checked(
        &self,
        info: &HubInfo,
        protocol: &str,
        call: &LoginCall,
        now: Instant,
    ) -> Result<PublicKey, RpcError> {
        let nonce = self.require_alive(now)?;
        if call.signer == Address::ZERO {
            return Err(failed("the signer is the zero address"));
        }
        let digest = login_digest(info, nonce, call.signer, protocol);
        // First contact: the key is not known yet, so this is the one place where the hub recovers it.
        // Malformed signatures (v, high s, zero) fail before any curve arithmetic.
        let key = call
            .signature
            .recover(&digest)
            .map_err(|reject| failed(&reject.to_string()))?;
        if key.address() != call.signer {
            return Err(RpcError::of(ErrorCode::LoginFailed).with(call.signer, key.address()));
        }
        Ok(key)
    }
}

/// `Busy` until `wait` has passed.
pub(crate) fn too_many(wait: Duration) -> RpcError {
    let text = "too many logins that failed or changed nothing; retry later";
    retry_after(RpcError::because(ErrorCode::Busy, text), wait)
}

/// `Busy` for a signer whose last connection was closed for what it sent.
pub(crate) fn put_off(wait: Duration) -> RpcError {
    let text = "the signer's last connection was closed for sending too much that is refused; retry later";
    retry_after(RpcError::because(ErrorCode::Busy, text), wait)
}

/// `error` with the pause after which the same may succeed.
pub(crate) fn retry_after(error: RpcError, wait: Duration) -> RpcError {
    error.retry_after_ms(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1))
}

fn failed(text: &str) -> RpcError {
    RpcError::because(ErrorCode::LoginFailed, text)
}

#[derive(Debug)]
struct Failures {
    bucket: Bucket,
    lately: HashMap<Origin, Instant>,
}

/// Failed logins of the whole hub. When they come too fast, addresses that failed lately are turned away
/// before any curve arithmetic; those who never failed still get in (attack B8).
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Mutex<Failures>>);

impl Budget {
    /// A full budget.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Failures {
            bucket: Bucket::new(limits::LOGIN_FAILURES_PER_S, limits::LOGIN_FAILURES_BURST, now),
            lately: HashMap::new(),
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Failures) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Errors: `Busy` for an address that failed lately while the budget is spent.
    pub(crate) fn admit(&self, origin: Origin, now: Instant) -> Result<(), RpcError> {
        let wait = self.with(|failures| {
            let suspect = failures
                .lately
                .get(&origin)
                .is_some_and(|at| now.saturating_duration_since(*at) < limits::LOGIN_FAILURE_MEMORY);
            let pause = failures.bucket.charge(0, now);
            (suspect && !pause.is_zero()).then_some(pause)
        });
        match wait {
            None => Ok(()),
            Some(wait) => Err(too_many(wait)),
        }
    }

    /// Records a failure.
    pub(crate) fn failed(&self, origin: Origin, now: Instant) {
        self.with(|failures| {
            failures.bucket.charge(1, now);
            if failures.lately.len() >= limits::LOGIN_FAILURE_ADDRESSES_MAX {
                let fresh = |at: &Instant| now.saturating_duration_since(*at) < limits::LOGIN_FAILURE_MEMORY;
                failures.lately.retain(|_, at| fresh(at));
            }
            if failures.lately.len() < limits::LOGIN_FAILURE_ADDRESSES_MAX {
                failures.lately.insert(origin, now);
            }
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use protocol_spec::{Signature, SignerKey, UnixSeconds};
    use std::net::IpAddr;

    pub(in crate::session) fn info() -> HubInfo {
        HubInfo {
            server: "hub.test".into(),
            chain_id: 31_337,
            adjudicator: Address::repeat_byte(1),
            hub: Address::repeat_byte(2),
            hub_signer: Address::repeat_byte(3),
            hub_public_key: vec![2; 33],
            tokens: vec![],
            challenge_period_s: 86_400,
            confirmations: 1,
            now: UnixSeconds(0),
        }
    }

    fn signed(key: &SignerKey, nonce: Digest, protocol: &str) -> LoginCall {
        let signature = key.sign(&login_digest(&info(), nonce, key.address(), protocol));
        LoginCall {
            signer: key.address(),
            signature,
        }
    }

    #[test]
    fn a_nonce_works_until_it_is_replaced_and_only_for_its_signer_and_protocol() {
        let key = SignerKey::from_bytes(&[7; 32]).unwrap();
        let now = Instant::now();
        let mut challenger = Challenger::new();
        let nonce = challenger.challenge(now);
        let call = signed(&key, nonce, "json");
        assert_eq!(
            challenger.check(&info(), "json", &call, now).unwrap().address(),
            key.address()
        );
        let other = SignerKey::from_bytes(&[8; 32]).unwrap();
        let further = challenger.check(&info(), "json", &signed(&other, nonce, "json"), now);
        assert_eq!(further.unwrap().address(), other.address());
        let nonce = challenger.challenge(now);
        assert!(challenger.check(&info(), "json", &call, now).is_err(), "replayed");
        assert!(
            challenger
                .check(&info(), "borsh", &signed(&key, nonce, "json"), now)
                .is_err(),
            "downgraded"
        );
        assert!(!challenger.spent());
        let nonce = challenger.challenge(now);
        let mut bent = signed(&key, nonce, "json");
        bent.signature = Signature([0; 65]);
        assert!(challenger.check(&info(), "json", &bent, now).is_err());
        assert!(challenger.spent());
    }

    #[test]
    fn a_nonce_expires() {
        let key = SignerKey::from_bytes(&[7; 32]).unwrap();
        let now = Instant::now();
        let mut challenger = Challenger::new();
        let nonce = challenger.challenge(now);
        let call = signed(&key, nonce, "json");
        challenger
            .check(&info(), "json", &call, now + limits::NONCE_LIFE)
            .unwrap();
        let nonce = challenger.challenge(now);
        let call = signed(&key, nonce, "json");
        let late = now + limits::NONCE_LIFE + Duration::from_millis(1);
        assert!(challenger.check(&info(), "json", &call, late).is_err());
    }

    #[test]
    fn a_spent_budget_turns_away_only_those_who_failed() {
        let now = Instant::now();
        let budget = Budget::new(now);
        let [bad, good] = [1, 2].map(|last| Origin::from(IpAddr::from([10, 0, 0, last])));
        for _ in 0..=limits::LOGIN_FAILURES_BURST {
            budget.admit(bad, now).unwrap();
            budget.failed(bad, now);
        }
        assert!(budget.admit(bad, now).unwrap_err().is(ErrorCode::Busy));
        budget.admit(good, now).unwrap();
        budget.admit(bad, now + Duration::from_secs(1)).unwrap();
    }
}
