//! What the people's own applications write down: every payment before it is made, every answer, every receipt. It is
//! the one thing in the world that no crash touches, so everything is judged against it.

use super::{faults::Plan, part::Part, strangers::Stranger};
use client_sdk::{Cursor, ReceivedPayment, SignedInvoice};
use protocol_spec::{Address, Amount, ChannelId, Config, Credit, Digest, Payee, PaymentId};
use rand::{Rng as _, RngCore as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is known of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Not answered, or not asked yet.
    Open,
    /// The SDK says so.
    Delivered { fee: Amount },
    /// The SDK says that the money is back.
    Bounced,
    /// The SDK says that nothing was signed: the money is not there.
    Refused,
}

/// One payment that somebody wants to make.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Its place in the book: ids are each payer's own, and two may choose the same.
    pub(super) number: usize,
    pub(super) id: PaymentId,
    pub(super) payer: usize,
    /// `None`: an account that nobody has.
    pub(super) payee: Option<usize>,
    pub(super) amount: Amount,
    pub(super) fee_max: Amount,
    /// Paid by a lock on an invoice of the payee.
    pub(super) locked: bool,
    pub(super) state: State,
    /// To see whether everybody can pay again.
    pub(super) last: bool,
    /// The hub was restored and may have forgotten it, or a part of it.
    pub(super) doubtful: bool,
    taken: bool,
    /// Somebody has asked for it.
    asked: bool,
}

/// Somebody of the world as the others know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) address: Address,
    pub(super) channel: Option<ChannelId>,
}

/// The book. Clones are one book.
#[derive(Clone, Debug, Default)]
pub(super) struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    accounts: Vec<Account>,
    orders: Vec<Order>,
    received: BTreeMap<usize, Vec<ReceivedPayment>>,
    /// By order.
    invoices: BTreeMap<usize, SignedInvoice>,
    configs: BTreeMap<usize, Config>,
    /// The first number of those who keep no rules; they come last.
    foes_from: usize,
    /// Somebody whose client forgets what it did.
    restorer: Option<usize>,
    hub_restores: HubRestores,
    /// The hub has little memory.
    forgetful: bool,
    /// The hub lies.
    lies: bool,
    /// Its machine is gone for good.
    hub_gone: bool,
    /// Whose machine is away, for now.
    away: Option<usize>,
    settled: bool,
    asked_again: BTreeSet<usize>,
    /// Nobody pays any more.
    paid_up: bool,
    /// Whose channels take no new locks.
    unlocked: BTreeSet<usize>,
    leaving: Option<usize>,
    /// Somebody's close did not arrive in time.
    lapsed: bool,
    strangers: Vec<Stranger>,
    left: BTreeSet<usize>,
}

/// Whether the hub's database may become older.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum HubRestores {
    #[default]
    Never,
    Perhaps,
    /// It did.
    Once,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody's address; those from `foes_from` on are foes.
    pub(super) fn set_accounts(&self, addresses: impl IntoIterator<Item = Address>, foes_from: usize) {
        self.pages().foes_from = foes_from;
        let account = |address| Account {
            address,
            channel: None,
        };
        self.pages().accounts = addresses.into_iter().map(account).collect();
    }

    pub(super) fn set_channel(&self, person: usize, channel: ChannelId, config: Config) {
        self.pages().configs.insert(person, config);
        if let Some(account) = self.pages().accounts.get_mut(person) {
            account.channel = Some(channel);
        }
    }

    /// How many there are.
    pub(super) fn people(&self) -> usize {
        self.pages().accounts.len()
    }

    /// True once everybody has a channel that can receive.
    pub(super) fn everybody_is_there(&self) -> bool {
        self.pages()
            .accounts
            .iter()
            .all(|account| account.channel.is_some())
    }

    pub(super) fn is_foe(&self, person: usize) -> bool {
        person >= self.pages().foes_from
    }

    /// This person's client may be restored from an old copy: what it says of its own payments is worth little.
    pub(super) fn set_restorer(&self, person: usize) {
        self.pages().restorer = Some(person);
    }

    pub(super) fn is_restorer(&self, person: usize) -> bool {
        self.pages().restorer == Some(person)
    }

    /// True when some client may be restored from an old copy.
    pub(super) fn has_restorer(&self) -> bool {
        self.pages().restorer.is_some()
    }

    /// This person can be paid no locks any more.
    pub(super) fn takes_no_locks(&self, person: usize) {
        self.pages().unlocked.insert(person);
    }

    /// True when this person writes an invoice for whoever asks, as far as the others know.
    pub(super) fn writes_invoices(&self, person: usize) -> bool {
        let refuses = self.pages().unlocked.contains(&person);
        !refuses && !self.is_foe(person) && !self.is_leaving(person)
    }

    /// The hub may be restored from an old copy of its database.
    pub(super) fn set_hub_restorer(&self) {
        self.pages().hub_restores = HubRestores::Perhaps;
    }

    pub(super) fn is_hub_restorer(&self) -> bool {
        self.pages().hub_restores != HubRestores::Never
    }

    /// It was: what was under way since that copy was made may be forgotten, but for payments that were answered before.
    pub(super) fn hub_restored(&self, answered: &BTreeSet<usize>) {
        let mut pages = self.pages();
        pages.hub_restores = HubRestores::Once;
        for order in &mut pages.orders {
            order.doubtful |= order.asked && !answered.contains(&order.number);
        }
    }

    /// True once the hub was restored.
    pub(super) fn is_hub_restored(&self) -> bool {
        self.pages().hub_restores == HubRestores::Once
    }

    /// The hub has little memory.
    pub(super) fn set_forgetful(&self) {
        self.pages().forgetful = true;
    }

    /// The hub lies: what it says is in nobody's book.
    pub(super) fn set_lies(&self) {
        self.pages().lies = true;
    }

    /// True when the hub may lie.
    pub(super) fn hub_lies(&self) -> bool {
        self.pages().lies
    }

    /// Nobody is at this person's machine.
    pub(super) fn go_away(&self, person: usize) {
        self.pages().away = Some(person);
    }

    /// Everybody is there.
    pub(super) fn come_back(&self) {
        self.pages().away = None;
    }

    pub(super) fn is_away(&self, person: usize) -> bool {
        self.pages().away == Some(person)
    }

    /// Nobody begins another payment.
    pub(super) fn stop_paying(&self) {
        self.pages().paid_up = true;
    }

    /// All channels are paid out.
    pub(super) fn set_settled(&self) {
        self.pages().settled = true;
    }

    /// True when they are.
    pub(super) fn is_settled(&self) -> bool {
        self.pages().settled
    }

    /// Payments of a payer that were asked for and have no answer.
    pub(super) fn unanswered(&self, payer: usize) -> Vec<Order> {
        let mut orders = self.orders();
        orders.retain(|order| order.payer == payer && order.asked && order.state == State::Open);
        orders
    }

    /// A person has asked its client what became of every payment after the payout.
    pub(super) fn set_asked_again(&self, person: usize) {
        self.pages().asked_again.insert(person);
    }

    /// True when it has.
    pub(super) fn has_asked_again(&self, person: usize) -> bool {
        self.pages().asked_again.contains(&person)
    }

    /// The hub's machine does not come back.
    pub(super) fn set_hub_gone(&self) {
        self.pages().hub_gone = true;
    }

    /// True when it does not.
    pub(super) fn is_hub_gone(&self) -> bool {
        self.pages().hub_gone
    }

    /// True when the hub may forget receipts before they are read.
    pub(super) fn forgets_receipts(&self) -> bool {
        self.pages().forgetful
    }

    /// True when vouchers may tell of payments that no book tells of: receipts may lack, and so may the books of some payers.
    pub(super) fn is_incomplete(&self) -> bool {
        (self.forgets_receipts() && !self.is_exact()) || self.is_hub_restored()
    }

    /// True when everybody's book says what was paid.
    pub(super) fn is_exact(&self) -> bool {
        (0..self.people()).all(|person| self.is_reliable(person))
    }

    /// Payments that have their answer.
    pub(super) fn answered(&self) -> BTreeSet<usize> {
        let pages = self.pages();
        let answered = pages.orders.iter().filter(|order| order.state != State::Open);
        answered.map(|order| order.number).collect()
    }

    /// What its client says is true.
    pub(super) fn is_reliable(&self, person: usize) -> bool {
        !self.is_foe(person) && !self.is_restorer(person)
    }

    pub(super) fn config(&self, person: usize) -> Option<Config> {
        self.pages().configs.get(&person).cloned()
    }

    pub(super) fn config_of(&self, channel: ChannelId) -> Option<Config> {
        let pages = self.pages();
        let is_it = |account: &Account| account.channel == Some(channel);
        let person = pages.accounts.iter().position(is_it)?;
        pages.configs.get(&person).cloned()
    }

    /// Somebody wants to leave.
    pub(super) fn ask_to_leave(&self, person: usize) {
        self.pages().leaving.get_or_insert(person);
    }

    pub(super) fn is_leaving(&self, person: usize) -> bool {
        self.pages().leaving == Some(person)
    }

    /// A close is over that the hub never saw.
    pub(super) fn set_lapsed(&self) {
        self.pages().lapsed = true;
    }

    /// True when one is.
    pub(super) fn has_lapsed(&self) -> bool {
        self.pages().lapsed
    }

    /// Channels beside everybody's own.
    pub(super) fn strangers(&self) -> Vec<Stranger> {
        self.pages().strangers.clone()
    }

    pub(super) fn add_stranger(&self, stranger: Stranger) {
        self.pages().strangers.push(stranger);
    }

    pub(super) fn leave(&self, person: usize) {
        self.pages().left.insert(person);
    }

    pub(super) fn has_left(&self, person: usize) -> bool {
        self.pages().left.contains(&person)
    }

    /// Those who keep the rules and are still there.
    pub(super) fn honest(&self) -> Vec<usize> {
        let pages = self.pages();
        let stays = |person: &usize| !pages.left.contains(person) && pages.leaving != Some(*person);
        (0..pages.foes_from).filter(stays).collect()
    }

    /// True when this mark is of a payment that a foe made.
    pub(super) fn is_foul(&self, mark: Digest, id: PaymentId) -> bool {
        let pages = self.pages();
        let foes = pages.accounts.iter().skip(pages.foes_from);
        let foes = foes.filter_map(|foe| foe.channel);
        let mut channels = foes.chain(pages.strangers.iter().map(|stranger| stranger.id));
        channels.any(|channel| Credit::payer_of(&channel, &id) == mark)
    }

    /// One more small payment by everybody who is still there.
    pub(super) fn draw_last(&self, random: &mut StdRng) {
        let honest = self.honest();
        for payer in &honest {
            let others: Vec<usize> = honest.iter().copied().filter(|other| other != payer).collect();
            if others.is_empty() {
                continue;
            }
            let order = Order::small(*payer, random, |random| {
                others[random.random_range(0..others.len())]
            });
            self.pages().add(Order { last: true, ..order });
        }
    }

    /// One more small payment to somebody by everybody who is still there.
    pub(super) fn draw_to(&self, payee: usize, random: &mut StdRng) {
        for payer in self.honest() {
            let order = Order::small(payer, random, |_| payee);
            self.pages().add(order);
        }
    }

    /// Ids are each payer's own: some orders get the id of another payer's, its payee and its way.
    pub(super) fn share_ids(&self, plan: &mut Plan) {
        let pages = &mut *self.pages();
        for number in 1..pages.orders.len() {
            let (before, rest) = pages.orders.split_at_mut(number);
            let order = &mut rest[0];
            let own = |id| {
                before
                    .iter()
                    .any(|other| other.payer == order.payer && other.id == id)
            };
            let fits = |other: &&Order| {
                let pays_another = other.payee.is_some_and(|payee| payee != order.payer);
                other.payer != order.payer && pays_another && !own(other.id)
            };
            let others: Vec<_> = before.iter().filter(fits).collect();
            if !others.is_empty() && plan.strikes(Part::SharedId) {
                let other = others[plan.dice(Part::SharedId).random_range(0..others.len())];
                (order.id, order.payee, order.locked) = (other.id, other.payee, other.locked);
            }
        }
    }

    pub(super) fn account(&self, person: usize) -> Account {
        self.pages().accounts[person]
    }

    /// Draws everything that will be paid: `payments` by each payer and foe, to anybody else; some of them cannot be
    /// delivered.
    pub(super) fn draw(&self, payers: usize, payments: usize, random: &mut StdRng) {
        let pages = &mut *self.pages();
        let people = pages.accounts.len();
        for payer in (0..payers).chain(pages.foes_from..people) {
            for _ in 0..payments {
                let mut id = [0; 16];
                random.fill_bytes(&mut id);
                let other = (payer + random.random_range(1..people)) % people;
                let amount = Amount(random.random_range(1..=2_000));
                let exact = super::bank::fee(amount);
                let fee_max = match random.random_range(0..8) {
                    0 => Amount(exact.0 - 1),
                    1..=3 => Amount(exact.0 + random.random_range(1..=5)),
                    _ => exact,
                };
                pages.add(Order {
                    number: 0,
                    id: PaymentId(id),
                    payer,
                    payee: (random.random_range(0..12) != 0).then_some(other),
                    amount,
                    fee_max,
                    locked: random.random_range(0..3) == 0,
                    state: State::Open,
                    last: false,
                    doubtful: false,
                    taken: false,
                    asked: false,
                });
            }
        }
    }

    /// The next open order of a payer that no lane works on.
    pub(super) fn take(&self, payer: usize) -> Option<Order> {
        let mut pages = self.pages();
        if pages.paid_up {
            return None;
        }
        let order = pages
            .orders
            .iter_mut()
            .find(|order| order.payer == payer && !order.taken && order.state == State::Open)?;
        (order.taken, order.asked) = (true, true);
        Some(order.clone())
    }

    /// Gives an order back unanswered.
    pub(super) fn put_back(&self, number: usize) {
        if let Some(order) = self.pages().orders.get_mut(number) {
            order.taken = false;
        }
    }

    /// All lanes of a payer are gone.
    pub(super) fn put_back_all(&self, payer: usize) {
        for order in self
            .pages()
            .orders
            .iter_mut()
            .filter(|order| order.payer == payer)
        {
            order.taken = false;
        }
    }

    /// An answer. Errors: an earlier one said something else.
    pub(super) fn answer(&self, number: usize, state: State) -> Result<(), String> {
        let mut pages = self.pages();
        let order = pages.orders.get_mut(number);
        let order = order.ok_or_else(|| format!("order {number} is in nobody's book"))?;
        let id = order.id;
        let before = std::mem::replace(&mut order.state, state);
        if before != State::Open && before != state {
            return Err(format!("payment {id} was {before:?} and is {state:?}"));
        }
        Ok(())
    }

    /// An order that this payee has not written an invoice for.
    pub(super) fn wants_invoice(&self, payee: usize) -> Option<Order> {
        let pages = self.pages();
        let wanted = |order: &&Order| {
            order.locked && order.payee == Some(payee) && !pages.invoices.contains_key(&order.number)
        };
        pages.orders.iter().find(wanted).cloned()
    }

    pub(super) fn set_invoice(&self, number: usize, invoice: SignedInvoice) {
        self.pages().invoices.insert(number, invoice);
    }

    pub(super) fn invoice(&self, number: usize) -> Option<SignedInvoice> {
        self.pages().invoices.get(&number).cloned()
    }

    pub(super) fn receive(&self, person: usize, payment: ReceivedPayment) {
        self.pages().received.entry(person).or_default().push(payment);
    }

    /// Where a person's application goes on.
    pub(super) fn cursor(&self, person: usize) -> Option<Cursor> {
        let pages = self.pages();
        let newest = pages.received.get(&person)?.last()?;
        Some(newest.cursor.clone())
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        self.pages().orders.clone()
    }

    /// Each credit once: a restored hub's log begins again, and then shows what was read before.
    pub(super) fn received(&self, person: usize) -> Vec<ReceivedPayment> {
        let mut received = self.read(person);
        let mut credits = BTreeSet::new();
        received.retain(|payment| {
            let receipt = &payment.receipt;
            credits.insert((receipt.payer, receipt.payment_id, receipt.payee_seq))
        });
        received
    }

    /// Everything that its application read.
    pub(super) fn read(&self, person: usize) -> Vec<ReceivedPayment> {
        self.pages().received.get(&person).cloned().unwrap_or_default()
    }

    /// True when every order of an honest payer has its answer.
    pub(super) fn all_answered(&self) -> bool {
        let pages = self.pages();
        let mut honest = pages.orders.iter().filter(|order| order.payer < pages.foes_from);
        honest.all(|order| order.state != State::Open)
    }

    /// True when every delivered payment has reached its payee's application, if that is still there.
    pub(super) fn all_received(&self) -> bool {
        let orders = self.orders();
        let people = self.honest();
        let receipts: BTreeSet<(Digest, [u8; 16])> = people
            .iter()
            .flat_map(|person| self.received(*person))
            .map(|payment| (payment.receipt.payer, payment.receipt.payment_id.0))
            .collect();
        let mut expected = orders.iter().filter(|order| {
            matches!(order.state, State::Delivered { .. })
                && !order.doubtful
                && !self.forgets_receipts()
                && !self.is_foe(order.payer)
                && order.payee.is_some_and(|payee| people.contains(&payee))
        });
        expected.all(|order| {
            order
                .payer_mark(self)
                .is_some_and(|mark| receipts.contains(&(mark, order.id.0)))
        })
    }
}

impl Pages {
    fn add(&mut self, order: Order) {
        let number = self.orders.len();
        self.orders.push(Order { number, ..order });
    }
}

impl Order {
    /// A direct payment of next to nothing, not in the book yet.
    fn small(payer: usize, random: &mut StdRng, payee: impl FnOnce(&mut StdRng) -> usize) -> Self {
        let mut id = [0; 16];
        random.fill_bytes(&mut id);
        let amount = Amount(random.random_range(1..=9));
        Self {
            number: 0,
            id: PaymentId(id),
            payer,
            payee: Some(payee(random)),
            amount,
            fee_max: super::bank::fee(amount),
            locked: false,
            state: State::Open,
            last: false,
            doubtful: false,
            taken: false,
            asked: false,
        }
    }

    pub(super) fn payee(&self, book: &Book) -> Payee {
        let nobody = Address::repeat_byte(0xee);
        Payee::Account(self.payee.map_or(nobody, |payee| book.account(payee).address))
    }

    /// As the receipt names the payer.
    pub(super) fn payer_mark(&self, book: &Book) -> Option<protocol_spec::Digest> {
        let channel = book.account(self.payer).channel?;
        Some(Credit::payer_of(&channel, &self.id))
    }
}
