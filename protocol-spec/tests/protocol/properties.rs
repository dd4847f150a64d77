//! Two honest Channels with delayed, repeated and lost messages: O3, R4, equal settlements, idempotence, records.

use crate::common::*;
use Side::{Client, Hub};
use proptest::prelude::*;
use protocol_spec::{Amount, Channel, Op, Side, UnixSeconds, Withdraw, channel::Accepted};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Step {
    /// Pays, credits or returns these amounts.
    Pay(bool, Vec<u16>),
    /// Adds a lock.
    Lock(bool, u16, u16),
    /// The payee tells the preimage of the n-th lock; the payer converts.
    Convert(bool, u8),
    /// The payee consents to the end of the n-th lock; the payer drops it.
    Consent(bool, u8),
    /// The payer drops what has expired.
    DropExpired(bool),
    /// Answers what needs an acknowledgement.
    Ack(bool),
    /// Delivers the oldest message under way, perhaps twice.
    Deliver(bool, bool),
    /// Delivers all messages under way as one jump where R1 permits it.
    Jump(bool),
    /// Time passes.
    Wait(u16),
    /// Withdraws, signed and mined at once.
    Withdraw(bool, u16),
    /// Stores and loads.
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let side = any::<bool>;
    prop_oneof![
        4 => (side(), proptest::collection::vec(0_u16..400, 1..4)).prop_map(|(s, a)| Step::Pay(s, a)),
        2 => (side(), 0_u16..200, 0_u16..9000).prop_map(|(s, a, e)| Step::Lock(s, a, e)),
        2 => (side(), any::<u8>()).prop_map(|(s, n)| Step::Convert(s, n)),
        1 => (side(), any::<u8>()).prop_map(|(s, n)| Step::Consent(s, n)),
        1 => side().prop_map(Step::DropExpired),
        2 => side().prop_map(Step::Ack),
        6 => (side(), any::<bool>()).prop_map(|(s, twice)| Step::Deliver(s, twice)),
        1 => side().prop_map(Step::Jump),
        1 => (0_u16..3000).prop_map(Step::Wait),
        1 => (side(), 0_u16..300).prop_map(|(s, a)| Step::Withdraw(s, a)),
        1 => side().prop_map(Step::Restart),
    ]
}

fn side_of(client: bool) -> Side {
    if client { Client } else { Hub }
}

struct Run {
    w: World,
    under_way: [VecDeque<Sent>; 2],
    log: Vec<(Side, Sent)>,
    id: u64,
}

impl Run {
    fn new() -> Self {
        Self {
            w: World::new(),
            under_way: Default::default(),
            log: Vec::new(),
            id: 0,
        }
    }

    fn queue(&mut self, from: Side) -> &mut VecDeque<Sent> {
        &mut self.under_way[usize::from(from.index())]
    }

    fn issue(&mut self, from: Side, ops: &[Op]) {
        if let Ok(sent) = self.w.issue(from, ops) {
            self.queue(from).push_back(sent);
        }
    }

    fn deliver(&mut self, from: Side, twice: bool) {
        let Some(sent) = self.queue(from).pop_front() else {
            return;
        };
        assert_eq!(
            self.w.deliver(from, &sent).unwrap(),
            Accepted::New,
            "an honest voucher is accepted"
        );
        if twice {
            let before = self.w.of(from.other()).to_record();
            assert_eq!(self.w.deliver(from, &sent).unwrap(), Accepted::Duplicate);
            assert_eq!(before, self.w.of(from.other()).to_record());
        }
        self.log.push((from, sent));
    }

    fn jump(&mut self, from: Side) {
        let queue = self.queue(from).clone();
        let ops: Vec<Op> = queue.iter().flat_map(|sent| sent.ops.clone()).collect();
        if queue.len() > 1 && !ops.iter().any(Op::is_lock) {
            let last = Sent {
                ops,
                ..queue.back().unwrap().clone()
            };
            assert_eq!(self.w.deliver(from, &last).unwrap(), Accepted::New);
            self.queue(from).clear();
        }
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            for from in [Client, Hub] {
                while !self.queue(from).is_empty() {
                    self.deliver(from, false);
                }
                if self.w.of(from).must_ack() {
                    self.issue(from, &[]);
                }
            }
        }
        assert!(self.under_way.iter().all(VecDeque::is_empty));
    }

    fn nth_lock(&mut self, payer: Side, n: u8) -> Option<u64> {
        let accepted = self.w.of(payer.other()).received().locks.clone();
        let sent = &self.w.of(payer).sent().locks;
        let both: Vec<u64> = accepted
            .iter()
            .map(|l| l.id)
            .filter(|id| sent.lock(*id).is_some())
            .collect();
        both.get(usize::from(n) % both.len().max(1)).copied()
    }

    fn step(&mut self, step: &Step) {
        let now = self.w.clock.now.0;
        let clock = self.w.clock;
        match step {
            Step::Pay(from, amounts) => {
                let from = side_of(*from);
                let op = |(n, amount): (usize, &u16)| match (from, n % 2) {
                    (Client, _) => pay(n as u8, (*amount).into(), 1),
                    (Hub, 0) => credit(n as u8, (*amount).into()),
                    (Hub, _) => give_back(n as u8, (*amount).into()),
                };
                let ops: Vec<Op> = amounts.iter().enumerate().map(op).collect();
                self.issue(from, &ops);
            }
            Step::Lock(from, amount, life) => {
                self.id += 1;
                let lock = lock(self.id, (*amount).into(), now + 700 + u64::from(*life));
                self.issue(side_of(*from), &[add(lock)]);
            }
            Step::Convert(from, n) => {
                let from = side_of(*from);
                let Some(id) = self.nth_lock(from, *n) else { return };
                if self.w.of(from).told_witness(id, &opened(id), clock).is_ok() {
                    self.w
                        .of(from.other())
                        .learn_witness(id, &opened(id), clock)
                        .unwrap();
                    self.issue(from, &[convert(id)]);
                }
            }
            Step::Consent(from, n) => {
                let from = side_of(*from);
                let Some(id) = self.nth_lock(from, *n) else { return };
                if self.w.of(from.other()).consent(id).is_ok() {
                    self.w.of(from).consented(id).unwrap();
                    self.issue(from, &[drop_lock(id)]);
                }
            }
            Step::DropExpired(from) => {
                let from = side_of(*from);
                let ids: Vec<u64> = self.w.of(from).sent().locks.iter().map(|lock| lock.id).collect();
                for id in ids {
                    self.issue(from, &[drop_lock(id)]);
                }
            }
            Step::Ack(from) => self.issue(side_of(*from), &[]),
            Step::Deliver(from, twice) => self.deliver(side_of(*from), *twice),
            Step::Jump(from) => self.jump(side_of(*from)),
            // honest messages arrive within lag, so nothing is under way when much time passes
            Step::Wait(seconds) => {
                self.settle();
                self.w.at(now + u64::from(*seconds));
            }
            Step::Withdraw(side, amount) => self.withdraw(side_of(*side), (*amount).into()),
            Step::Restart(side) => {
                let channel = self.w.of(side_of(*side));
                let back = Channel::from_record(&channel.to_record()).unwrap();
                assert_eq!(&back, channel);
                *channel = back;
            }
        }
    }

    fn withdraw(&mut self, side: Side, amount: u128) {
        self.settle();
        let clock = self.w.clock;
        let deadline = UnixSeconds(clock.now.0 + 60);
        let message = self
            .w
            .of(side)
            .plan_withdraw(side, Amount(amount), deadline)
            .unwrap();
        if self.w.of(side).sign_withdraw(&message, clock).is_err() {
            return;
        }
        self.check_older(side.other(), &message);
        let co_signed = self.w.of(side.other()).sign_withdraw(&message, clock);
        assert!(co_signed.is_ok(), "{co_signed:?}");
        for both in [Client, Hub] {
            self.w.of(both).withdraw_confirmed(side, message.total);
        }
    }

    /// R13: of its own vouchers `by` refuses those for their age that are older than the last acknowledged one, and no others.
    fn check_older(&mut self, by: Side, message: &Withdraw) {
        let clock = self.w.clock;
        let channel = self.w.of(by).clone();
        for (_, sent) in self.log.iter().filter(|(from, _)| *from == by) {
            let (voucher, mut older) = (sent.verified.voucher(), message.clone());
            let (seq, paid) = match by {
                Client => (&mut older.client_seq, &mut older.client_paid),
                Hub => (&mut older.hub_seq, &mut older.hub_paid),
            };
            (*seq, *paid) = (voucher.seq, voucher.paid);
            let refused = channel.clone().sign_withdraw(&older, clock).err();
            let is_stale = refused.is_some_and(|reject| reject.name() == "WithdrawStale");
            assert_eq!(is_stale, voucher.seq < channel.received().ack_seq, "{older:?}");
        }
    }

    /// O3 and R4 in every state, from both points of view.
    fn check(&mut self) {
        for side in [Client, Hub] {
            let channel = self.w.of(side).clone();
            let (client, hub) = channel.settlement();
            assert_eq!(client.0 + hub.0, channel.funds().total().0, "O3");
            for (payer, half) in [(side, channel.sent()), (side.other(), channel.received())] {
                let has = channel.funds().deposit(payer).0 + half.ack_paid.0;
                let gone = channel.withdrawn(payer).0 + half.paid.0 + half.locks.total().0;
                assert!(has >= gone, "R4 of {payer:?}");
                let sum: u128 = half.locks.iter().map(|lock| lock.amount.0).sum();
                assert_eq!(sum, half.locks.total().0);
            }
        }
    }
}

proptest! {
    #![proptest_config(seeded(3_000))]

    #[test]
    fn two_honest_parties_agree(steps in proptest::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.settle();
        run.check();
        let (client, hub) = (&run.w.client, &run.w.hub);
        prop_assert_eq!(client.settlement(), hub.settlement());
        prop_assert_eq!(client.sent().history, hub.received().history);
        prop_assert_eq!(hub.sent().history, client.received().history);
        prop_assert_eq!(client.sent().locks.commitment(), hub.received().locks.commitment());
        // every message ever delivered changes nothing when it comes again
        let before = (client.to_record(), hub.to_record());
        for (from, sent) in run.log.clone() {
            let _ = run.w.deliver(from, &sent);
        }
        prop_assert_eq!(before, (run.w.client.to_record(), run.w.hub.to_record()));
    }

    #[test]
    fn a_forged_voucher_never_changes_anything(
        steps in proptest::collection::vec(step(), 1..20),
        field in 0..7_u8,
        delta in prop_oneof![Just(1_u128), Just(u128::MAX), any::<u128>()],
    ) {
        let mut run = Run::new();
        steps.iter().for_each(|step| run.step(step));
        run.settle();
        let forged = run.w.forge(Client, &[pay(1, 1, 0)], |v| {
            let bits = delta.max(1);
            match field {
                0 => v.seq.0 = ((u128::from(v.seq.0) + 1025 + bits % (1 << 35)) % (1 << 36)) as u64,
                1 => v.paid.0 = (v.paid.0 ^ bits) % (1 << 88),
                2 => v.ack_seq.0 = ((u128::from(v.ack_seq.0) + 1 + bits % 1000) % (1 << 36)) as u64,
                3 => v.ack_paid.0 = (v.ack_paid.0 ^ bits) % (1 << 88),
                4 => v.locks.0[0] ^= (bits as u8).max(1),
                5 => v.history.0[0] ^= (bits as u8).max(1),
                _ => v.channel_id.0[0] ^= (bits as u8).max(1),
            }
        });
        let honest = run.w.forge(Client, &[pay(1, 1, 0)], |_| {});
        if forged.verified != honest.verified {
            prop_assert!(run.w.deliver(Client, &forged).is_err());
        }
    }
}
