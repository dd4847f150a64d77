//! Random inputs, valid and not, in random batches; oracles O1, O3, O4; then both ways of restarting.
//!
//! `LEDGER_SEED` and `LEDGER_CASES` choose the run; the seed is printed.

use super::{
    client::{Client, domain},
    state::{Tables, state},
    twin::Twin,
    world::{World, policy},
};
use crate::ledger::{ChainFact, Input, Policy, TxKind, input::Change, input::Record};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};
use protocol_spec::{
    Amount, CancelDispute, ChannelId, Lock, Op, Payee, PaymentId, Preimage, Seq, Side, Signature,
    channel::Phase,
    message::{
        CancelDisputeCall, CloseCall, Cursor, Frame, LockCall, PrepareCloseCall, Reveal, SubscribeCall,
        WithdrawCall,
    },
};
use std::collections::BTreeMap;

const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Pay {
        from: usize,
        to: usize,
        count: usize,
        amount: u64,
        fee: u64,
        life: u64,
        reuse: bool,
    },
    Bad {
        from: usize,
        kind: u8,
    },
    Resend {
        from: usize,
    },
    Ack {
        from: usize,
    },
    Lock {
        from: usize,
        to: usize,
        amount: u64,
        life_s: u64,
        secret: u8,
    },
    Reveal {
        who: usize,
        nth: usize,
    },
    GiveUp {
        who: usize,
        nth: usize,
    },
    Fold {
        from: usize,
    },
    Offline {
        who: usize,
    },
    Online {
        who: usize,
    },
    Subscribe {
        who: usize,
        after: u64,
    },
    Withdraw {
        who: usize,
        amount: u64,
        wrong: bool,
    },
    /// The hub asks for its surplus; the client signs or says nothing.
    Release {
        who: usize,
        agree: bool,
    },
    /// Announces a close, or takes that back.
    Prepare {
        who: usize,
        life_s: u64,
    },
    Close {
        who: usize,
    },
    Cancel {
        who: usize,
    },
    Dispute {
        who: usize,
        is_final: bool,
    },
    Thaw {
        who: usize,
    },
    Fund {
        who: usize,
        amount: u64,
    },
    Mine,
    Time {
        seconds: u64,
    },
    Fee {
        flat: u64,
    },
    Checkpoint,
    /// Ends the batch.
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    prop_oneof![
        12 => (who.clone(), 0..CLIENTS + 1, prop_oneof![6 => 1..6_usize, 1 => 200..=256_usize], 1..400_u64, 0..9_u64, 0..90_u64, prop::bool::weighted(0.1))
            .prop_map(|(from, to, count, amount, fee, life, reuse)| Step::Pay { from, to, count, amount, fee, life, reuse }),
        3 => (who.clone(), 0..8_u8).prop_map(|(from, kind)| Step::Bad { from, kind }),
        1 => who.clone().prop_map(|from| Step::Resend { from }),
        4 => who.clone().prop_map(|from| Step::Ack { from }),
        4 => (who.clone(), 0..CLIENTS + 1, 1..400_u64, prop_oneof![4 => 6_000..20_000_u64, 1 => 0..6_000_u64], 0..4_u8)
            .prop_map(|(from, to, amount, life_s, secret)| Step::Lock { from, to, amount, life_s, secret }),
        3 => (who.clone(), 0..6_usize).prop_map(|(who, nth)| Step::Reveal { who, nth }),
        1 => (who.clone(), 0..6_usize).prop_map(|(who, nth)| Step::GiveUp { who, nth }),
        3 => who.clone().prop_map(|from| Step::Fold { from }),
        3 => who.clone().prop_map(|who| Step::Offline { who }),
        3 => who.clone().prop_map(|who| Step::Online { who }),
        1 => (who.clone(), 0..9_u64).prop_map(|(who, after)| Step::Subscribe { who, after }),
        2 => (who.clone(), 1..500_u64, any::<bool>()).prop_map(|(who, amount, wrong)| Step::Withdraw { who, amount, wrong }),
        3 => (who.clone(), prop::bool::weighted(0.7)).prop_map(|(who, agree)| Step::Release { who, agree }),
        1 => (who.clone(), 0..100_u64).prop_map(|(who, life_s)| Step::Prepare { who, life_s }),
        1 => who.clone().prop_map(|who| Step::Close { who }),
        1 => who.clone().prop_map(|who| Step::Cancel { who }),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, is_final)| Step::Dispute { who, is_final }),
        2 => who.clone().prop_map(|who| Step::Thaw { who }),
        2 => (who, 1..900_u64).prop_map(|(who, amount)| Step::Fund { who, amount }),
        1 => Just(Step::Mine),
        2 => prop_oneof![3 => 0..60_u64, 1 => 3000..6000_u64].prop_map(|seconds| Step::Time { seconds }),
        1 => (0..4_u64).prop_map(|flat| Step::Fee { flat }),
        1 => Just(Step::Checkpoint),
        8 => Just(Step::Commit),
    ]
}

/// One of the hub's locks that this client has, if there is any.
fn nth_lock(client: &Client, nth: usize) -> Option<Lock> {
    let locks: Vec<&Lock> = client.channel.received().locks.iter().collect();
    let index = nth.checked_rem(locks.len())?;
    locks.get(index).map(|lock| (*lock).clone())
}

/// Few events are kept, fewer than fit in all channels, and the hub takes back what it has above a part of its deposit.
fn terms() -> Policy {
    let mut terms = policy();
    terms.events_per_channel_max = 40;
    terms.remembered_max = 100;
    terms.tokens[0].reserve.target = Amount(15_000);
    terms.tokens[0].reserve.high = Amount(16_000);
    terms
}

struct Run {
    world: World,
    batch: Vec<Input>,
    /// Resumes in the batch: afterwards the client sends again what the hub does not have.
    resumed: Vec<usize>,
    tables: Tables,
    used: Vec<Op>,
    counts: BTreeMap<&'static str, u64>,
    disputes: u64,
}

impl Run {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn flush(&mut self) {
        let inputs = std::mem::take(&mut self.batch);
        self.world.commit(inputs);
        for client in std::mem::take(&mut self.resumed) {
            for frame in self.world.clients[client].unaccepted.clone() {
                let (_, input) = self.world.input(client, frame);
                self.batch.push(input);
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm per kind of step")]
    fn apply(&mut self, step: Step) {
        let world = &mut self.world;
        match step {
            Step::Pay {
                from,
                to,
                count,
                amount,
                fee,
                life,
                reuse,
            } => {
                let payee = if to < CLIENTS {
                    Payee::Account(world.clients[to].account())
                } else {
                    Payee::Channel(ChannelId([to as u8; 32]))
                };
                let expires = world.now.after(life);
                let mut ops: Vec<Op> = (0..count)
                    .map(|_| world.clients[from].pay(payee, amount.into(), fee.into(), expires))
                    .collect();
                if let (true, Some(old)) = (reuse, self.used.get(from + 1)) {
                    ops.push(old.clone());
                    ops.truncate(256);
                }
                self.used.push(ops[0].clone());
                self.voucher(from, ops);
            }
            Step::Ack { from } => self.voucher(from, Vec::new()),
            Step::Bad { from, kind } => self.bad(from, kind),
            Step::Lock {
                from,
                to,
                amount,
                life_s,
                secret,
            } => {
                let payee = if to < CLIENTS {
                    Payee::Channel(world.id(to))
                } else {
                    Payee::Channel(ChannelId([to as u8; 32]))
                };
                let expiry = world.clock().chain.after(life_s);
                let op = world.clients[from].lock(payee, amount.into(), 9, expiry, Preimage([secret; 32]));
                self.voucher(from, vec![op]);
                self.count("locks");
            }
            Step::Reveal { who, nth } => {
                let lock = nth_lock(&world.clients[who], nth);
                let secrets = (0..4).map(|secret| Preimage([secret; 32]));
                if let Some(lock) = lock
                    && let Some(preimage) = secrets
                        .into_iter()
                        .find(|secret| lock.condition().opened_by(&secret.0))
                {
                    let origin = world.fresh_origin(who);
                    let call = Reveal {
                        channel_id: world.id(who),
                        lock_id: lock.id,
                        witness: preimage.into(),
                    };
                    self.batch.push(Input::Reveal(origin, call));
                    self.count("reveals");
                }
            }
            Step::GiveUp { who, nth } => {
                let client = &mut world.clients[who];
                let lock = client
                    .channel
                    .received()
                    .locks
                    .iter()
                    .nth(nth)
                    .map(|lock| lock.id);
                if let Some(lock_id) = lock
                    && client.channel.consent(lock_id).is_ok()
                {
                    let origin = world.fresh_origin(who);
                    let channel_id = world.id(who);
                    self.batch
                        .push(Input::Consent(origin, LockCall { channel_id, lock_id }));
                    self.count("consents");
                }
            }
            Step::Fold { from } => {
                let ops = world.clients[from].fold();
                self.voucher(from, ops);
            }
            Step::Resend { from } => {
                if let Some(frame) = world.clients[from].unaccepted.first().cloned() {
                    let (_, input) = world.input(from, frame);
                    self.batch.push(input);
                }
            }
            Step::Offline { who } => {
                self.flush();
                self.world.offline(who);
            }
            Step::Online { who } => {
                let (_, input) = world.resume_input(who);
                self.batch.push(input);
                self.resumed.push(who);
                self.flush();
            }
            Step::Subscribe { who, after } => {
                let origin = world.fresh_origin(who);
                let after = (after > 0).then_some(Cursor {
                    epoch: 1,
                    position: after,
                });
                let channel_id = world.id(who);
                self.batch
                    .push(Input::Subscribe(origin, SubscribeCall { channel_id, after }));
            }
            Step::Withdraw { who, amount, wrong } => self.withdraw(who, amount, wrong),
            Step::Release { who, agree } => self.release(who, agree),
            Step::Prepare { who, life_s } => {
                let (channel_id, until) = (world.id(who), world.clock().now.after(life_s));
                let origin = world.fresh_origin(who);
                self.batch.push(Input::PrepareClose(
                    origin,
                    PrepareCloseCall { channel_id, until },
                ));
            }
            Step::Close { who } => {
                let deadline = world.clock().now.after(600);
                let close = world.clients[who].channel.plan_close(deadline);
                let origin = world.fresh_origin(who);
                let signature = Signature([2; 65]);
                self.batch
                    .push(Input::Close(origin, CloseCall { close, signature }));
            }
            Step::Cancel { who } => {
                let cancel = CancelDispute {
                    channel_id: world.id(who),
                    dispute_no: Seq(self.disputes),
                    deadline: world.clock().now.after(600),
                };
                let origin = world.fresh_origin(who);
                let signature = Signature([3; 65]);
                self.batch.push(Input::CancelDispute(
                    origin,
                    CancelDisputeCall { cancel, signature },
                ));
            }
            Step::Dispute { who, is_final } => {
                self.disputes += 1;
                let (channel, dispute_no) = (world.id(who), Seq(self.disputes));
                self.batch.push(Input::DisputeSeen { channel, dispute_no });
                if is_final {
                    self.block(vec![ChainFact::Disputed { channel, dispute_no }]);
                }
            }
            Step::Thaw { who } => {
                let (channel, dispute_no) = (world.id(who), Seq(self.disputes));
                self.block(vec![ChainFact::DisputeCancelled { channel, dispute_no }]);
            }
            Step::Fund { who, amount } => {
                self.flush();
                let facts = self.world.fund_facts(who, amount.into(), amount.into());
                self.block(facts);
            }
            Step::Mine => self.mine(),
            Step::Time { seconds } => {
                world.now = world.now.after(seconds);
                self.block(vec![]);
            }
            Step::Fee { flat } => {
                let mut terms = terms();
                terms.tokens[0].fee_flat = Amount(flat.into());
                self.batch.push(Input::Policy(terms));
            }
            Step::Checkpoint => {
                self.flush();
                self.tables.write(self.world.ledger.checkpoint());
            }
            Step::Commit => self.flush(),
        }
    }

    /// A block in the batch, and then the batch's end: the next block must know this one.
    fn block(&mut self, facts: Vec<ChainFact>) {
        let block = self.world.block_of(facts);
        self.batch.push(block);
        self.flush();
        // R12: what nobody mined lapses for clients, too.
        let clock = self.world.clock();
        for client in &mut self.world.clients {
            client.channel.tick(clock);
        }
    }

    fn voucher(&mut self, from: usize, ops: Vec<Op>) {
        let clock = self.world.clock();
        let client = &mut self.world.clients[from];
        if let Ok(frame) = client.frame(ops, clock) {
            let (_, input) = self.world.input(from, frame);
            self.batch.push(input);
            self.count("frames");
        }
    }

    fn withdraw(&mut self, who: usize, amount: u64, wrong: bool) {
        let deadline = self.world.clock().now.after(600);
        let client = &mut self.world.clients[who];
        let amount = Amount(amount.into());
        let Ok(mut withdraw) = client.channel.plan_withdraw(Side::Client, amount, deadline) else {
            return;
        };
        if wrong {
            withdraw.total = Amount(1 << 60);
        }
        let origin = self.world.fresh_origin(who);
        let signature = Signature([1; 65]);
        self.batch
            .push(Input::Withdraw(origin, WithdrawCall { withdraw, signature }));
    }

    /// What the hub may not count on any more is seen by `deliver_frame`: a client accepts every hub frame.
    fn release(&mut self, who: usize, agree: bool) {
        self.flush();
        let channel = self.world.id(who);
        let told = self.world.commit(vec![Input::Offer(channel)]);
        let Some(release) = told.iter().find_map(super::liquidity::asked_by) else {
            return;
        };
        self.count("releases asked for");
        let clock = self.world.clock();
        let own = &mut self.world.clients[who].channel;
        let more = release.total.saturating_minus(own.withdrawn(Side::Hub));
        let Ok(withdraw) = own.plan_withdraw(Side::Hub, more, release.deadline) else {
            return;
        };
        if agree && own.sign_withdraw(&withdraw, clock).is_ok() {
            let origin = self.world.fresh_origin(who);
            let signature = Signature([4; 65]);
            self.batch
                .push(Input::Withdraw(origin, WithdrawCall { withdraw, signature }));
            self.count("releases signed");
        }
    }

    /// A voucher that breaks a rule: refused, and if it is alone in its commit, nothing is journaled.
    fn bad(&mut self, from: usize, kind: u8) {
        self.flush();
        if !self.batch.is_empty() {
            self.flush();
        }
        let world = &mut self.world;
        let op = world.pay_op(from, (from + 1) % CLIENTS, 3, 5);
        let clock = world.clock();
        let mut copy = world.clients[from].channel.clone();
        let ops = vec![op];
        let Ok(issued) = copy.issue(&ops, &domain(), clock) else {
            return;
        };
        let mut voucher = issued.voucher;
        match kind {
            0 => voucher.paid.0 += 1,
            1 => voucher.history.0[5] ^= 1,
            2 => voucher.seq.0 += 1025,
            3 => voucher.ack_seq.0 += 1000,
            4 => voucher.ack_paid.0 += 1,
            5 => voucher.locks.0[0] ^= 1,
            6 => voucher.paid.0 = u128::from(u64::MAX),
            _ => voucher.channel_id = world.clients[(from + 1) % CLIENTS].channel.id(),
        }
        let voucher = world.clients[from].sign(voucher);
        let (before, records) = (state(&world.ledger), world.records.len());
        let (origin, input) = world.input(from, Frame { voucher, ops });
        world.commit(vec![input]);
        assert!(world.answer(origin).is_err(), "kind {kind} was accepted");
        assert_eq!(state(&world.ledger), before, "kind {kind} left a trace");
        assert_eq!(world.records.len(), records);
        self.count("refused");
    }

    /// The chain shows what both sides signed.
    fn mine(&mut self) {
        self.flush();
        let mut facts = Vec::new();
        for pending in self.world.ledger.pending_transactions() {
            let channel = pending.config.id(&domain());
            let clients = &mut self.world.clients;
            let client = clients.iter_mut().find(|client| client.channel.id() == channel);
            match pending.kind {
                TxKind::Withdraw(withdraw) => {
                    let (side, total) = (withdraw.side, withdraw.total);
                    client.unwrap().channel.withdraw_confirmed(side, total);
                    facts.push(ChainFact::Withdrawn { channel, side, total });
                }
                TxKind::Close(_) => facts.push(ChainFact::Closed { channel }),
                TxKind::Cancel(message) => facts.push(ChainFact::DisputeCancelled {
                    channel,
                    dispute_no: message.dispute_no,
                }),
            }
        }
        self.block(facts);
    }

    /// Everybody comes back; then all oracles.
    fn finish(mut self) -> BTreeMap<&'static str, u64> {
        self.flush();
        for client in 0..CLIENTS {
            self.apply(Step::Online { who: client });
            self.flush();
        }
        for client in 0..CLIENTS {
            let (one, entry) = (&self.world.clients[client], &self.world.ledger.entries[client]);
            assert_eq!(
                one.channel.received().digest,
                entry.channel.sent().digest,
                "in step"
            );
        }
        self.check_channels();
        self.check_payments();
        self.world.check_replay(&self.tables);
        if let Some(twin) = &self.world.twin {
            twin.same_in_the_end(&self.world.ledger);
            self.counts.insert("made cold", twin.cooled);
        }
        let mut all = Tables::default();
        all.write(self.world.ledger.checkpoint());
        self.counts.insert("records", self.world.records.len() as u64);
        self.counts.insert("vouchers", self.world.issued.len() as u64);
        self.counts
    }

    /// O3: each channel's balances sum to what is in it, and none is negative.
    fn check_channels(&self) {
        for entry in self.world.ledger.entries.iter() {
            let (channel, funds) = (&entry.channel, entry.channel.funds());
            let (sent, got) = (channel.sent().paid.0, channel.received().paid.0);
            let hub = (funds.hub_deposit.0 + got).checked_sub(sent + funds.hub_withdrawn.0);
            let client = (funds.client_deposit.0 + sent).checked_sub(got + channel.withdrawn(Side::Client).0);
            assert!(hub.is_some(), "O3: the hub's balance is negative");
            assert!(client.is_some(), "O3: the client's balance is negative");
            let whole = funds.client_deposit.0 + funds.hub_deposit.0
                - channel.withdrawn(Side::Client).0
                - funds.hub_withdrawn.0;
            assert_eq!(hub.unwrap() + client.unwrap(), whole, "O3");
        }
    }

    /// O4 with locks: what the hub is short of it can collect with preimages that it holds.
    fn check_locks(&mut self, sent: u128, got: u128, fees: u128) {
        // What payees were given and payers have not folded yet: the hub holds the preimages.
        let owed: u128 = self
            .world
            .ledger
            .entries
            .iter()
            .flat_map(|e| e.channel.known_witnesses().map(move |(id, _)| (e, id)))
            .filter_map(|(e, id)| e.channel.received().locks.lock(id))
            .map(|lock| lock.amount.0)
            .sum();
        assert!(
            got + owed >= sent + fees,
            "O4: the hub lost: {got} + {owed} < {sent} + {fees}"
        );
        let locks: usize = self
            .world
            .clients
            .iter()
            .map(|client| client.converted.len())
            .sum();
        // A payee in a dispute revealed, and collects on chain: its payer has paid, and no voucher says that it got it.
        let mut entries = self.world.ledger.entries.iter();
        let promised = entries.any(|e| !e.channel.sent().locks.is_empty());
        if locks == 0 && owed == 0 && !promised {
            assert_eq!(got, sent + fees, "O4: debits = credits + returns + fees");
        }
        self.counts.insert("locks converted", locks as u64);
        let forwarded: usize = self
            .world
            .ledger
            .entries
            .iter()
            .filter(|e| *e.channel.phase() != Phase::Closed)
            .map(|e| e.stored.forwards.len())
            .sum();
        assert_eq!(self.world.ledger.forwarded, forwarded as u64);
    }

    /// O4, from the journal and what clients received: of each payment id, what was paid in is credited once, returned, or fee.
    fn check_payments(&mut self) {
        let mut paid: BTreeMap<(usize, PaymentId), (u128, u128)> = BTreeMap::new();
        for bytes in &self.world.records {
            let record: Record = borsh::from_slice(bytes).unwrap();
            for change in record.changes {
                let Change::Frame { signed, ops } = change else {
                    continue; // Locks are checked as sums, below.
                };
                let client = (0..CLIENTS).find(|one| self.world.id(*one) == signed.voucher.channel_id);
                for op in ops {
                    let Op::Pay(payment) = op else { continue };
                    let sum = paid.entry((client.unwrap(), payment.payment_id)).or_default();
                    sum.0 += payment.amount.0 + payment.fee_max.0;
                    sum.1 = sum.1.max(payment.fee_max.0);
                }
            }
        }
        let (mut delivered, mut fees) = (0, 0);
        for ((client, id), (whole, fee_max)) in paid {
            let one = &self.world.clients[client];
            let payer = protocol_spec::Credit::payer_of(&one.channel.id(), &id);
            let credits: Vec<u128> = self
                .world
                .clients
                .iter()
                .flat_map(|client: &Client| client.credits.iter())
                .filter(|credit| credit.payer == payer)
                .map(|credit| credit.amount.0)
                .collect();
            assert!(credits.len() <= 1, "{id} was credited {} times", credits.len());
            let back: u128 = one
                .returns
                .iter()
                .filter(|returned| returned.payment_id == id)
                .map(|returned| returned.amount.0)
                .sum();
            let credited: u128 = credits.iter().sum();
            let fee = whole.checked_sub(credited + back).expect("O4: more out than in");
            assert!(
                fee <= if credits.is_empty() { 0 } else { fee_max },
                "O4: {id} lost {fee}"
            );
            delivered += credits.len() as u64;
            fees += fee;
        }
        let sent: u128 = self
            .world
            .ledger
            .entries
            .iter()
            .map(|e| e.channel.sent().paid.0)
            .sum();
        let got: u128 = self
            .world
            .ledger
            .entries
            .iter()
            .map(|e| e.channel.received().paid.0)
            .sum();
        self.check_locks(sent, got, fees);
        self.counts.insert("delivered", delivered);
        let open = |phase: &Phase| *phase == Phase::Open;
        let frozen = self
            .world
            .ledger
            .entries
            .iter()
            .filter(|e| !open(e.channel.phase()))
            .count();
        self.counts.insert("frozen channels", frozen as u64);
    }
}

#[test]
fn random_inputs_keep_the_oracles_and_replay_to_the_same_state() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let seed: u64 = number("LEDGER_SEED", 20_261_123);
    let cases = number("LEDGER_CASES", 300) as u32;
    println!("LEDGER_SEED={seed} LEDGER_CASES={cases}");
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let totals = std::cell::RefCell::new(BTreeMap::<&str, u64>::new());
    let steps = prop::collection::vec(step(), 1..120);
    let result = TestRunner::new(config).run(&steps, |steps| {
        let mut run = Run {
            world: Twin::of(|| World::with(terms(), CLIENTS as u64, 20_000)),
            batch: Vec::new(),
            resumed: Vec::new(),
            tables: Tables::default(),
            used: Vec::new(),
            counts: BTreeMap::new(),
            disputes: 0,
        };
        for step in steps {
            run.apply(step);
        }
        for (what, count) in run.finish() {
            *totals.borrow_mut().entry(what).or_default() += count;
        }
        Ok(())
    });
    println!("{:?}", totals.borrow());
    if let Err(error) = result {
        panic!("LEDGER_SEED={seed}: {error}");
    }
}
