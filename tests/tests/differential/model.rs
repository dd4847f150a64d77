//! The reference: `protocol_spec::settlement` for the rules, and around it the guards of the verbs, in the order of
//! `IAdjudicator.sol`, so that it says of every call whether it succeeds and with which error it does not.

mod evidence;
mod rules;

use crate::action::{Action, BatchItem, Both, config_of};
use crate::cast::{Chain, REFUSER};
use crate::counts::Counts;
use alloy::primitives::Address;
use alloy::sol_types::SolError as _;
use protocol_spec::abi::IAdjudicator as I;
use protocol_spec::settlement::Funds;
use protocol_spec::{Config, Digest, Side, Signature, UnixSeconds, limits};
pub(crate) use rules::Rules;

/// Selector of an error of the contract.
pub(crate) type Selector = [u8; 4];
type Checked<T = ()> = Result<T, Selector>;

pub(crate) const NONE: u8 = 0;
pub(crate) const OPEN: u8 = 1;
pub(crate) const DISPUTED: u8 = 2;
pub(crate) const CLOSED: u8 = 3;

fn require(holds: bool, otherwise: Selector) -> Checked {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// One channel and the money around it.
#[derive(Clone)]
pub(crate) struct Model<R> {
    pub(crate) config: Config,
    pub(crate) rules: R,
    pub(crate) funds: Funds,
    pub(crate) status: u8,
    pub(crate) dispute_no: u64,
    /// 0 unless disputed.
    pub(crate) window_end: UnixSeconds,
    pub(crate) vault: u128,
    /// Coin that arrived at the client's account, and what waits there to be claimed.
    pub(crate) client_coin: u128,
    pub(crate) claimable: u128,
    /// Why the last call skipped items, in their order.
    pub(crate) skipped: Vec<Selector>,
    /// Highest seq of a voucher shown, by payer; for the counts.
    pub(crate) best_seq: [u64; 2],
}

impl<R: Rules> Model<R> {
    pub(crate) fn new(config: Config, rules: R) -> Self {
        Self {
            config,
            rules,
            funds: Funds::default(),
            status: NONE,
            dispute_no: 0,
            window_end: UnixSeconds(0),
            vault: 0,
            client_coin: 0,
            claimable: 0,
            skipped: Vec::new(),
            best_seq: [0, 0],
        }
    }

    /// R18.
    pub(crate) fn final_at(&self) -> u64 {
        self.rules
            .final_at(self.window_end, self.config.challenge_period_s)
            .0
    }

    /// What a closed channel still holds is nothing.
    pub(crate) fn total(&self) -> u128 {
        if self.status == CLOSED {
            0
        } else {
            self.funds.total().0
        }
    }

    /// Does what the rules say. An error leaves the model as it was.
    pub(crate) fn apply(&mut self, chain: &Chain, action: &Action, now: u64, counts: &mut Counts) -> Checked {
        let mut next = self.clone();
        next.skipped.clear();
        next.step(chain, action, now, counts)?;
        *self = next;
        Ok(())
    }

    fn step(&mut self, chain: &Chain, action: &Action, now: u64, counts: &mut Counts) -> Checked {
        match action {
            Action::Open(amount) => {
                require(matches!(self.status, NONE | OPEN), I::WrongStatus::SELECTOR)?;
                self.status = OPEN;
                self.deposit(*amount)
            }
            Action::Deposit(amount) => {
                require(self.status == OPEN, I::WrongStatus::SELECTOR)?;
                self.deposit(*amount)
            }
            Action::FundVault(amount) => {
                self.vault += amount;
                Ok(())
            }
            Action::Reserve { from, amount } => self.reserve(*from, *amount),
            Action::Evidence {
                from,
                dispute,
                submissions,
                resolutions,
            } => {
                let may_dispute = if *dispute { self.dispute(now)? } else { false };
                let allowed = self.submit(chain, *from, submissions, now, counts)?;
                self.resolve(*from, resolutions, now, counts)?;
                let party = self.is_party(*from, Side::Client) || self.is_party(*from, Side::Hub);
                require(
                    !dispute || may_dispute || allowed || party,
                    I::NotThePayee::SELECTOR,
                )
            }
            Action::Withdraw {
                from,
                message,
                signatures,
            } => {
                self.require_both(chain, *from, &message.digest(&chain.domain), signatures)?;
                require_deadline(message.deadline.0, now)?;
                self.withdraw(message)
            }
            Action::WithdrawMany { from, items } => {
                self.withdraw_many(chain, *from, items, now, counts);
                Ok(())
            }
            Action::Cancel {
                from,
                message,
                signatures,
            } => {
                self.require_both(chain, *from, &message.digest(&chain.domain), signatures)?;
                require_deadline(message.deadline.0, now)?;
                require(self.status == DISPUTED, I::WrongStatus::SELECTOR)?;
                require(
                    message.dispute_no.0 == self.dispute_no,
                    I::WrongDisputeNo::SELECTOR,
                )?;
                require(now < self.final_at(), I::AlreadyFinal::SELECTOR)?;
                (self.status, self.window_end) = (OPEN, UnixSeconds(0));
                Ok(())
            }
            Action::Finalize => self.finalize(now),
        }
    }

    fn is_party(&self, from: Address, side: Side) -> bool {
        from == self.config.account(side) || from == self.config.signer(side)
    }

    fn require_both(&self, chain: &Chain, from: Address, digest: &Digest, signatures: &Both) -> Checked {
        for (side, signature) in [Side::Client, Side::Hub].into_iter().zip(signatures) {
            let by =
                |key: &protocol_spec::PublicKey, signature: &Signature| key.verify(digest, signature).is_ok();
            let signed = signature.as_ref().is_some_and(|signature| {
                by(&chain.signer(side).public, signature)
                    || (self.config.account(side) != REFUSER && by(&chain.account(side).public, signature))
            });
            require(signed || self.is_party(from, side), I::BadSignature::SELECTOR)?;
        }
        Ok(())
    }

    fn deposit(&mut self, amount: u128) -> Checked {
        require(amount <= limits::AMOUNT_MAX, I::TotalTooLarge::SELECTOR)?;
        self.funds.client_deposit.0 += amount;
        require(
            self.funds.total().0 <= limits::AMOUNT_MAX,
            I::TotalTooLarge::SELECTOR,
        )
    }

    fn reserve(&mut self, from: Address, amount: u128) -> Checked {
        require(from == self.config.hub, I::NotAParty::SELECTOR)?;
        if self.status != OPEN {
            self.skipped.push(I::WrongStatus::SELECTOR);
            return Ok(());
        }
        require(amount <= self.vault, I::InsufficientVault::SELECTOR)?;
        let total = self.funds.total().0 + amount;
        if total > limits::AMOUNT_MAX {
            self.skipped.push(I::TotalTooLarge::SELECTOR);
            return Ok(());
        }
        self.vault -= amount;
        self.funds.hub_deposit.0 += amount;
        Ok(())
    }

    fn dispute(&mut self, now: u64) -> Checked<bool> {
        require(self.status == OPEN, I::WrongStatus::SELECTOR)?;
        self.status = DISPUTED;
        self.dispute_no += 1;
        self.window_end = UnixSeconds(now + self.config.challenge_period_s);
        Ok(false)
    }

    /// R14.
    fn withdraw(&mut self, message: &protocol_spec::Withdraw) -> Checked {
        require(self.status == OPEN, I::WrongStatus::SELECTOR)?;
        require(
            message.client_seq.max(message.hub_seq).0 <= limits::SEQ_MAX,
            I::SeqTooLarge::SELECTOR,
        )?;
        let paid = message.client_paid.max(message.hub_paid).0;
        require(paid <= limits::AMOUNT_MAX, I::PaidTooLarge::SELECTOR)?;
        let client = (message.client_seq.0, message.client_paid);
        self.rules.withdraw(client, (message.hub_seq.0, message.hub_paid));
        let before = self.funds.withdrawn(message.side).0;
        require(message.total.0 > before, I::WithdrawalNotNewer::SELECTOR)?;
        let amount = message.total.0 - before;
        require(amount <= self.funds.total().0, I::InsufficientTotal::SELECTOR)?;
        match message.side {
            Side::Client => {
                self.funds.client_withdrawn = message.total;
                self.pay_client(amount);
            }
            Side::Hub => {
                self.funds.hub_withdrawn = message.total;
                self.vault += amount;
            }
        }
        Ok(())
    }

    /// Each by itself; what one alone would be refused for is the reason why it is skipped.
    fn withdraw_many(
        &mut self,
        chain: &Chain,
        from: Address,
        items: &[BatchItem],
        now: u64,
        counts: &mut Counts,
    ) {
        let (mut done, mut again) = (0, false);
        for (place, item) in items.iter().enumerate() {
            let mut next = self.clone();
            match next.withdraw_item(chain, from, item, now) {
                Ok(()) => {
                    done += 1;
                    *self = next;
                }
                Err(reason) => {
                    again |= items[..place].iter().any(|other| other.message == item.message);
                    self.skipped.push(reason);
                }
            }
        }
        if done > 1 {
            counts.bump("batch: several done");
        }
        if done > 0 && !self.skipped.is_empty() {
            counts.bump("batch: some done, some skipped");
        }
        if again {
            counts.bump("batch: the same withdrawal twice");
        }
    }

    fn withdraw_item(&mut self, chain: &Chain, from: Address, item: &BatchItem, now: u64) -> Checked {
        let mut message = item.message.clone();
        message.channel_id = config_of(&self.config, item).id(&chain.domain);
        self.require_both(chain, from, &message.digest(&chain.domain), &item.signatures)?;
        require_deadline(message.deadline.0, now)?;
        require(!item.never_opened, I::WrongStatus::SELECTOR)?;
        self.withdraw(&message)
    }

    fn finalize(&mut self, now: u64) -> Checked {
        require(self.status == DISPUTED, I::WrongStatus::SELECTOR)?;
        require(now >= self.final_at(), I::NotFinal::SELECTOR)?;
        let (client, hub) = self.rules.balances(&self.funds);
        (self.status, self.window_end) = (CLOSED, UnixSeconds(0));
        self.vault += hub.0;
        self.pay_client(client.0);
        Ok(())
    }

    fn pay_client(&mut self, amount: u128) {
        if self.config.client == REFUSER {
            self.claimable += amount;
        } else {
            self.client_coin += amount;
        }
    }
}

fn require_deadline(deadline: u64, now: u64) -> Checked {
    require(deadline >= now, I::DeadlinePassed::SELECTOR)?;
    require(
        deadline <= now + limits::DEADLINE_AHEAD_MAX_S,
        I::DeadlineTooFar::SELECTOR,
    )
}
