//! Asking resolvers on the chain: for the ledger, before a witness is believed; and before a witness goes into a
//! transaction, which would fail as a whole if its resolver refused.

use super::{Driver, defence::all_of};
use crate::{
    chain::{CallRequest, Chain, ChainError},
    engine::WeakControl,
    ledger::{Check, Defence, Input},
};
use futures::{FutureExt, StreamExt, stream};
use protocol_spec::{Condition, Witness, probe};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// Questions under way at once.
const CHECKS_AT_ONCE: usize = 32;
/// After that the payee is told to come again.
const CHECK_MAX: Duration = Duration::from_secs(5);

/// Answers the ledger's questions. Its own task: a payee waits, and the driver may be busy with other things.
pub struct Checker {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Confirmations k: resolvers are asked at the newest confirmed block.
    pub confirmations: u64,
    /// Takes the answers.
    pub control: WeakControl,
}

impl Checker {
    /// Runs until the engine has ended.
    pub async fn run(self, mut checks: mpsc::Receiver<Check>) {
        let questions = stream::poll_fn(move |context| checks.poll_recv(context));
        questions
            .for_each_concurrent(CHECKS_AT_ONCE, |check| self.check(check).boxed())
            .await;
    }

    async fn check(&self, check: Check) {
        let asked = timeout(CHECK_MAX, self.ask(&check)).await;
        let opens = match asked {
            Ok(Ok(opens)) => Some(opens),
            Ok(Err(error)) => {
                tracing::warn!(resolver = %check.condition.resolver, %error, "a resolver could not be asked");
                None
            }
            Err(_) => None,
        };
        let number = check.number;
        self.control.tell(Input::Checked { number, opens }).await;
    }

    async fn ask(&self, check: &Check) -> Result<bool, ChainError> {
        let head = self.chain.head().await?;
        let at = head.number.saturating_sub(self.confirmations);
        opens(self.chain.as_ref(), &check.condition, &check.witness, Some(at)).await
    }
}

/// What the adjudicator would say, at a block.
async fn opens(
    chain: &dyn Chain,
    condition: &Condition,
    witness: &Witness,
    at: Option<u64>,
) -> Result<bool, ChainError> {
    let request = CallRequest {
        data: probe::code(condition, witness),
        creation: true,
        at,
        ..CallRequest::default()
    };
    let output = chain.call(request).await?;
    probe::answer(&output).ok_or_else(|| ChainError::BadAnswer("a word that is neither 0 nor 1".to_owned()))
}

impl Driver {
    /// Locks whose resolvers refuse the witness that is held. One that cannot be asked is not refused.
    pub(super) async fn refused(&self, defence: &Defence) -> BTreeSet<u64> {
        let witnesses = defence.received.witnesses.iter();
        let held = witnesses.filter_map(|(id, witness)| Some((id.parse::<u64>().ok()?, witness)));
        let asked = held.filter_map(|(id, witness)| {
            let lock = defence.received.locks.iter().find(|lock| lock.id == id)?;
            let condition = lock.condition();
            condition.has_resolver().then_some((id, condition, witness))
        });
        let chain = self.options.chain.as_ref();
        let reads = asked.map(|(id, condition, witness)| {
            async move { Ok((id, opens(chain, &condition, witness, None).await?)) }.boxed()
        });
        let answers = all_of(reads.collect()).await;
        let refused = answers.into_iter().flatten().filter(|(_, opens)| !opens);
        let refused: BTreeSet<u64> = refused.map(|(id, _)| id).collect();
        if !refused.is_empty() {
            let channel = defence.config.id(&self.options.domain);
            tracing::warn!(%channel, locks = ?refused, "resolvers refuse the witnesses held: the locks are left out");
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::{
            contracts,
            dev::{ANY_PORT, DevChain},
        },
        chain::TxRequest,
    };
    use protocol_spec::Address;

    /// Puts a contract on the chain that runs `code`, whatever it is asked.
    async fn resolver(chain: &dyn Chain, code: &str) -> Address {
        let code = hex::decode(code).unwrap();
        // codecopy(0, 11, len), return(0, len)
        let mut creation = vec![
            0x60,
            u8::try_from(code.len()).unwrap(),
            0x80,
            0x60,
            11,
            0x60,
            0,
            0x39,
            0x60,
            0,
            0xf3,
        ];
        creation.extend(code);
        let request = TxRequest {
            data: creation.into(),
            ..TxRequest::default()
        };
        let sent = chain.send(request).await.unwrap();
        chain.wait(sent.hash, 0).await.unwrap().contract_address.unwrap()
    }

    /// The resolver's answer is judged as by the adjudicator, whose own tests have the same resolvers.
    #[tokio::test]
    async fn only_the_word_one_within_the_gas_cap_and_without_a_write_is_a_yes() {
        let dev = DevChain::start(ANY_PORT).await.unwrap();
        let witness = Witness::new(vec![3; 1024]).unwrap();
        for (what, code, expected) in [
            ("yes", "600160005260206000f3", true),
            ("no", "600060005260206000f3", false),
            ("two", "600260005260206000f3", false),
            ("two words", "600160005260406000f3", false),
            ("one byte", "60016000526001601ff3", false),
            ("reverts with the word one", "600160005260206000fd", false),
            ("burns all gas", "5b600056", false),
            ("writes", "6001600055600160005260206000f3", false),
            // PUSH3 and GAS have cost 5 when it looks.
            (
                "yes when its gas is 200,000",
                "62030d3b5a1460005260206000f3",
                true,
            ),
            ("nothing", "00", false),
        ] {
            let condition = Condition::data(resolver(&dev.bank, code).await, b"data");
            let said = opens(&dev.bank, &condition, &witness, None).await.unwrap();
            assert_eq!(said, expected, "{what}");
        }
        let nobody = Condition::data(Address::repeat_byte(9), b"data");
        assert!(!opens(&dev.bank, &nobody, &witness, None).await.unwrap());
    }

    /// At a block before the resolver was there it says nothing.
    #[tokio::test]
    async fn a_resolver_is_asked_at_the_block_that_is_named() {
        let dev = DevChain::start(ANY_PORT).await.unwrap();
        let escrow = contracts::deploy_arbiter_escrow(&dev.bank).await.unwrap();
        let arbiter = protocol_spec::SignerKey::from_bytes(&[5; 32]).unwrap();
        let deal = [7; 32];
        let released = contracts::release(&dev.bank, escrow, &arbiter, deal)
            .await
            .unwrap();
        let condition = contracts::escrow_condition(escrow, arbiter.address(), deal);
        let head = dev.bank.head().await.unwrap().number;
        assert!(opens(&dev.bank, &condition, &released, Some(head)).await.unwrap());
        assert!(!opens(&dev.bank, &condition, &released, Some(0)).await.unwrap());
        let other = contracts::escrow_condition(escrow, arbiter.address(), [8; 32]);
        assert!(!opens(&dev.bank, &other, &released, Some(head)).await.unwrap());
    }
}
