//! Channels beside everybody's own: anybody may open one that names the hub, with whatever keys and terms. A Mallory whose signer they
//! name says of them all that can be said.

use super::{
    bank::{Bank, fee},
    book::Book,
    clock::{Clock, key_bytes},
    court, forge,
    hub::{CHALLENGE_PERIOD_S, signer},
    network::Network,
    oracle::Oracle,
    part::Part,
};
use protocol_spec::{
    Amount, ChannelId, Config, Digest, DirectionEvidence, Domain, History, Op, Payee, Payment, PaymentId,
    Register, Seq, Side, SignerKey, Voucher,
    abi::{ClientReserve, IAdjudicator, Status},
    calls,
    message::{RegisterCall, Request, ResumeCall},
};
use rand::Rng as _;
use std::time::Duration;
use tokio::time::sleep;

/// Of all kinds together.
const STRANGERS_MAX: usize = 4;
/// What is paid into each, and what its signer pays out of it.
const DEPOSIT: u128 = 5_000;
const AMOUNT_MAX: u128 = 50;
/// The shortest challenge period that the contract takes.
const SHORT_S: u64 = 3600;
/// Longer than any world lasts.
const EXPIRES_S: u64 = 30 * 24 * 3600;
/// Steps in which a dispute must be over.
const STEP_S: u64 = 6 * 3600;
const STEPS_MAX: usize = 12;

/// What is odd about a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nobody registers it, and its challenge period is short.
    Unregistered,
    /// Vouchers of the hub's side are somebody else's to sign.
    OtherSigner,
    /// Its owner is not its signer.
    OtherOwner,
    /// It is another one of the same account.
    Another,
}

const KINDS: [Kind; 4] = [
    Kind::Unregistered,
    Kind::OtherSigner,
    Kind::OtherOwner,
    Kind::Another,
];

/// One channel.
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    pub(super) id: ChannelId,
    kind: Kind,
    config: Config,
    owner: SignerKey,
    /// The only payment in it.
    payment: Payment,
}

/// Whoever owns these channels, unless a Mallory does.
fn owner(seed: u64) -> anyhow::Result<SignerKey> {
    Ok(SignerKey::from_bytes(&key_bytes(seed, "stranger"))?)
}

/// Gas for whoever owns them, and the tokens that are paid in.
pub(super) async fn endow(bank: &Bank, seed: u64) -> anyhow::Result<()> {
    bank.endow(owner(seed)?.address(), 0).await?;
    bank.approve(DEPOSIT * STRANGERS_MAX as u128).await
}

/// Everything it needs.
pub(super) struct Strangers<'a> {
    pub(super) seed: u64,
    pub(super) bank: &'a Bank,
    pub(super) book: &'a Book,
    pub(super) clock: &'a Clock,
    pub(super) network: &'a Network,
    pub(super) oracle: &'a Oracle,
}

impl Strangers<'_> {
    /// Opens a channel that this Mallory signs for, and says again what is to be said of all of them.
    pub(super) async fn act(&self, mallory: usize, key: &SignerKey) -> anyhow::Result<()> {
        let domain = self.bank.domain().await?;
        if self.book.strangers().len() < STRANGERS_MAX {
            let stranger = self.draw(mallory, key, &domain)?;
            self.oracle.note(&format!(
                "{:?} of person {mallory}: {}",
                stranger.kind, stranger.id
            ));
            if stranger.kind == Kind::Unregistered {
                self.oracle.unregistered(stranger.id);
            }
            // In the book before it can be on chain.
            self.book.add_stranger(stranger.clone());
            self.bank.send(&calls::open(&stranger.config, DEPOSIT)).await?;
            if stranger.kind == Kind::OtherSigner {
                self.take_reserve(&stranger).await?;
            }
        }
        for stranger in self.book.strangers() {
            if stranger.config.client_signer == key.address() {
                let said = stranger.said(key, &domain);
                self.network.say(mallory, |mallory, _| mallory.says(said));
            }
        }
        Ok(())
    }

    fn draw(&self, mallory: usize, key: &SignerKey, domain: &Domain) -> anyhow::Result<Stranger> {
        let others = (0..self.book.people()).filter(|person| *person != mallory);
        let others: Vec<usize> = others.collect();
        let (kind, salt, payee, amount, id) = self.network.plan(|plan| {
            let dice = plan.dice(Part::Stranger);
            (
                KINDS[dice.random_range(0..KINDS.len())],
                Digest(dice.random()),
                others[dice.random_range(0..others.len())],
                Amount(dice.random_range(1..=AMOUNT_MAX)),
                PaymentId(dice.random()),
            )
        });
        let owner = match kind {
            Kind::Another => key.clone(),
            _ => owner(self.seed)?,
        };
        let hub_signer = match kind {
            Kind::OtherSigner => owner.address(),
            _ => signer(self.seed)?.address(),
        };
        let challenge_period_s = match kind {
            Kind::Unregistered => SHORT_S,
            _ => CHALLENGE_PERIOD_S,
        };
        let config = Config {
            client: owner.address(),
            client_signer: key.address(),
            hub: self.bank.hub_owner.address(),
            hub_signer,
            token: self.bank.deployed.token,
            challenge_period_s,
            salt,
        };
        let payment = Payment {
            payment_id: id,
            payee: Payee::Account(self.book.account(payee).address),
            amount,
            fee_max: fee(amount),
            expires_at: self.clock.now().after(EXPIRES_S),
            invoice: Digest::ZERO,
        };
        Ok(Stranger {
            id: config.id(domain),
            kind,
            config,
            owner,
            payment,
        })
    }

    /// The signer that the channel names for the hub wants its vault's money in it.
    async fn take_reserve(&self, stranger: &Stranger) -> anyhow::Result<()> {
        let call = IAdjudicator::reserveCall {
            side: calls::hub_side(&stranger.config),
            items: vec![ClientReserve {
                client: stranger.config.client,
                clientSigner: stranger.config.client_signer,
                salt: stranger.config.salt.0.into(),
                amount: DEPOSIT,
            }],
        };
        let taken = court::sent(self.bank, &stranger.owner, &call).await?;
        self.oracle.check(!taken, || {
            format!(
                "O7: a stranger takes a reserve for {} from the hub's vault",
                stranger.id
            )
        });
        Ok(())
    }

    /// Their owners dispute, with nothing to show.
    pub(super) async fn sue(&self) -> anyhow::Result<()> {
        for stranger in self.book.strangers() {
            if self.bank.is_open(stranger.id).await? {
                let call = calls::dispute(&stranger.config, Side::Hub, &DirectionEvidence::default());
                court::start(self.bank, &stranger.owner, &call).await?;
            }
        }
        Ok(())
    }

    /// They are paid out, whoever pays the gas.
    pub(super) async fn end(&self) -> anyhow::Result<()> {
        for _ in 0..STEPS_MAX {
            let mut open = false;
            for stranger in self.book.strangers() {
                if matches!(self.bank.channel(stranger.id).await?.status, Status::Disputed) {
                    open = true;
                    self.bank.send(&calls::finalize(&stranger.config)).await?;
                }
            }
            if !open {
                break;
            }
            self.clock.jump(STEP_S);
            sleep(Duration::from_secs(2)).await;
        }
        for stranger in self.book.strangers() {
            let status = self.bank.channel(stranger.id).await?.status;
            if matches!(status, Status::Open | Status::Disputed) {
                self.oracle
                    .violation(format!("O8: the channel {stranger:?} cannot be settled"));
            }
        }
        Ok(())
    }
}

impl Stranger {
    /// Registered where somebody would be, resumed, and paid from.
    fn said(&self, key: &SignerKey, domain: &Domain) -> Vec<Request> {
        let statement = Register {
            channel_id: self.id,
            server: "hub.sim".to_owned(),
        };
        let register = RegisterCall {
            config: self.config.clone(),
            owner_signature: Some(self.owner.sign(&statement.digest(domain))),
        };
        let resume = ResumeCall {
            channel_id: self.id,
            sent: None,
            received: None,
            sent_locks: None,
            received_locks: None,
        };
        let ops = vec![Op::Pay(self.payment.clone())];
        let nothing = Voucher {
            channel_id: self.id,
            seq: Seq(1),
            paid: Amount::ZERO,
            ack_seq: Seq::NONE,
            ack_paid: Amount::ZERO,
            locks: Digest::ZERO,
            history: Digest::ZERO,
        };
        let start = (History::initial(&self.id, Side::Client).0, Amount::ZERO);
        let voucher = forge::extended(&nothing, start, &ops);
        let frame = forge::frame(key, domain, voucher, ops);
        let register = (self.kind != Kind::Unregistered).then_some(Request::Register(register));
        let rest = [Request::Resume(Box::new(resume)), Request::Voucher(frame)];
        register.into_iter().chain(rest).collect()
    }
}
