//! The honest party's real [`Channel`], taken through a course of events.

use super::world::{World, amount, at, clock, opened};
use crate::chain::{LOCKS, Status, Voucher};
use crate::honest::Op;
use crate::link::{Act, CANCEL_LIFE, Link};
use protocol_spec::{
    CancelDispute, Channel, Op as RealOp, Reject, Seq, UnixSeconds, VerifiedVoucher, Voucher as RealVoucher,
    channel::{Accepted, Event, Phase, ShownLocks},
};

/// A channel with what a caller of it keeps.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// The real one.
    pub(super) channel: Channel,
    /// Own vouchers, by seq - 1.
    pub(super) mine: Vec<RealVoucher>,
    /// Ids of the locks, by payer; 0 before they are added.
    pub(super) ids: [[u64; LOCKS]; 2],
    /// Own seqs that a rollback lost and no adoption showed.
    pub(super) forgotten: Vec<u8>,
    newest: Option<VerifiedVoucher>,
    saved: Option<Box<Channel>>,
    lost: Option<Box<Lost>>,
}

#[derive(Clone, Debug)]
struct Lost {
    mine: Vec<RealVoucher>,
    newest: Option<VerifiedVoucher>,
}

/// What became of an event.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The channel did it.
    Done(Box<Party>),
    /// It does not go the model's way, for a reason that is known; what follows is not replayed.
    NotReplayed(&'static str),
}

/// Where the channel does less than the rules permit, and one hole.
pub(super) mod not_replayed {
    /// R17: a mark counts when it is confirmed; the model sees it at once.
    pub(crate) const FRESH_MARK: &str = "a conversion because of an unconfirmed mark";
    /// A10: a voucher of the other side alone comes as an ordinary frame.
    pub(crate) const ORDINARY: &str = "an adoption of the other's voucher without a newer own one";
}

impl Party {
    /// Before anything happened.
    #[must_use]
    pub(super) fn new(world: &World, link: &Link) -> Self {
        let mut party = Self {
            channel: world.channel(),
            mine: Vec::new(),
            ids: [[0; LOCKS]; 2],
            forgotten: Vec::new(),
            newest: None,
            saved: None,
            lost: None,
        };
        party.see(world, link, 0).expect("nothing happened yet");
        party
    }

    /// The id under which `payer` adds the lock, or has added it.
    #[must_use]
    pub(super) fn id(&self, payer: usize, i: usize) -> u64 {
        let newest = self.ids[payer].iter().max().copied().unwrap_or_default();
        match self.ids[payer][i] {
            0 => newest + 1,
            id => id,
        }
    }

    /// The operations of the next voucher of `payer`.
    #[must_use]
    pub(super) fn ops(&self, world: &World, payer: usize, seq: u8, op: Op) -> Vec<RealOp> {
        let id = match op {
            Op::Ack | Op::Pay => 0,
            Op::Add(i) | Op::Convert(i) | Op::Drop(i) => self.id(payer, i),
        };
        world.ops(payer, seq, op, id)
    }

    /// The other's voucher, with its operations.
    #[must_use]
    pub(super) fn theirs(&self, world: &World, v: &Voucher, op: Op) -> (VerifiedVoucher, Vec<RealOp>) {
        let ops = self.ops(world, 1, v.seq, op);
        let mut ids = self.ids[1];
        if let Op::Add(i) = op {
            ids[i] = self.id(1, i);
        }
        let locks = world.commitment(1, v.locks, &ids);
        (world.signed(&self.channel, v, locks, &ops), ops)
    }

    /// What the party does in `act`, which leads from `from` to `to`, or sees when a step passes (`None`). `now` is the step
    /// after it. Errors: the channel refuses what the rules demand.
    pub(super) fn does(
        &self,
        world: &World,
        act: Option<Act>,
        from: &Link,
        to: &Link,
        now: u8,
    ) -> Result<Outcome, String> {
        let mut next = self.clone();
        let refused = |reject: Reject| format!("refused: {reject}");
        match act {
            Some(Act::Accepts(v, op, _)) => next.accepts(world, &v, op, now).map_err(refused)?,
            Some(Act::Issues(op)) => match next.issues(world, op, now) {
                Err(Reject::WitnessWrong { .. }) if fresh_mark(from, op) => {
                    return Ok(Outcome::NotReplayed(not_replayed::FRESH_MARK));
                }
                done => done.map_err(refused)?,
            },
            Some(Act::Learns(i)) => {
                let id = next.ids[1][i];
                let known = next.channel.learn_witness(id, &opened(1, i), clock(now));
                known.map_err(refused)?;
            }
            Some(Act::Told(i)) => {
                let told = next
                    .channel
                    .told_witness(next.ids[0][i], &opened(0, i), clock(now));
                told.map_err(refused)?;
            }
            Some(Act::GetsConsent(i)) => next.channel.consented(next.ids[0][i]).map_err(refused)?,
            Some(Act::Consents(i)) => next.channel.consent(next.ids[1][i]).map_err(refused)?,
            Some(Act::SignsWithdraw(w)) => {
                let message = world.withdraw(&next.channel, &w);
                let signed = next.channel.sign_withdraw(&message, clock(now));
                signed.map_err(refused)?;
            }
            Some(Act::SignsClose(close)) => {
                let message = world.close(&next.channel, &close);
                next.channel.sign_close(&message, clock(now)).map_err(refused)?;
            }
            Some(Act::SignsCancel) => {
                // The party looks at the chain first: it may be another dispute than the one it saw.
                next.see(world, to, now)?;
                let cancel = CancelDispute {
                    channel_id: next.channel.id(),
                    dispute_no: Seq(from.chain.dispute_no.into()),
                    deadline: at(now + CANCEL_LIFE),
                };
                next.channel.sign_cancel(&cancel, clock(now)).map_err(refused)?;
            }
            Some(Act::Countersigns) => {
                let accept =
                    next.channel
                        .plan_accept(protocol_spec::Address::ZERO, false, UnixSeconds(u64::MAX));
                let newest = next.newest.as_ref().map(VerifiedVoucher::digest);
                if accept.map_err(refused)?.map(|accept| accept.voucher) != newest {
                    return Err("countersigns another voucher than the newest".into());
                }
            }
            Some(Act::Saves) => next.saved = Some(Box::new(next.again()?)),
            Some(Act::Restores) => next.restores(from.saved.map_or(0, |saved| saved.n)),
            Some(Act::Resyncs(own, true)) if usize::from(own) == next.mine.len() => {
                return Ok(Outcome::NotReplayed(not_replayed::ORDINARY));
            }
            Some(Act::Resyncs(own, newest)) => {
                next.adopts(world, from, own, newest).map_err(refused)?;
            }
            _ => {}
        }
        next.see(world, to, now)?;
        Ok(Outcome::Done(Box::new(next)))
    }

    fn accepts(&mut self, world: &World, v: &Voucher, op: Op, now: u8) -> Result<(), Reject> {
        let (verified, ops) = self.theirs(world, v, op);
        let accepted = self.channel.accept(&verified, &ops, clock(now))?;
        assert_eq!(accepted, Accepted::New, "a voucher counts once");
        if let Op::Add(i) = op {
            self.ids[1][i] = self.id(1, i);
        }
        self.newest = Some(verified);
        Ok(())
    }

    fn issues(&mut self, world: &World, op: Op, now: u8) -> Result<(), Reject> {
        let seq = u8::try_from(self.mine.len()).unwrap_or(u8::MAX) + 1;
        let ops = self.ops(world, 0, seq, op);
        let issued = self.channel.issue(&ops, &world.domain, clock(now))?;
        if let Op::Add(i) = op {
            self.ids[0][i] = self.id(0, i);
        }
        self.mine.push(issued.voucher);
        Ok(())
    }

    /// Everything it is sure of about the chain (deposits, withdrawals, marks), and whether it sees a dispute.
    fn see(&mut self, world: &World, link: &Link, now: u8) -> Result<(), String> {
        for party in 0..2 {
            let side = world.side(party);
            self.channel.deposit_confirmed(side, amount(link.base.dep[party]));
            if link.base.wd[party] > 0 {
                self.channel.withdraw_confirmed(side, amount(link.base.wd[party]));
            }
            for i in (0..LOCKS).filter(|i| link.base.marks[party][*i] != 0) {
                self.channel.mark(side, self.ids[party][i]);
            }
        }
        self.channel.tick(clock(now));
        let dispute_no = Seq(link.chain.dispute_no.into());
        let disputed = matches!(self.channel.phase(), Phase::Disputed { .. });
        let event = match link.h.seen {
            true if link.chain.status != Status::Disputed => return Ok(()),
            true if link.is_settled() => Event::DisputeFinal { dispute_no },
            true => Event::DisputeSeen { dispute_no },
            false if disputed => Event::DisputeGone,
            false => return Ok(()),
        };
        self.channel.enter(&event).map_err(|reject| reject.to_string())
    }

    /// The same from its record.
    pub(super) fn again(&self) -> Result<Channel, String> {
        let again = Channel::from_record(&self.channel.to_record()).map_err(|reject| reject.to_string())?;
        if again == self.channel {
            Ok(again)
        } else {
            Err("its record says something else".into())
        }
    }

    fn restores(&mut self, kept: u8) {
        self.lost = Some(Box::new(Lost {
            mine: self.mine.clone(),
            newest: self.newest.clone(),
        }));
        if let Some(saved) = self.saved.take() {
            self.channel = *saved;
        }
        self.mine.truncate(kept.into());
    }

    fn adopts(&mut self, world: &World, from: &Link, own: u8, newest: bool) -> Result<(), Reject> {
        let lost = self.lost.clone().expect("a rollback came before");
        let had = self.mine.len();
        if usize::from(own) == had {
            return Ok(());
        }
        let voucher = lost.mine[usize::from(own) - 1].clone();
        let theirs = lost.newest.filter(|_| newest);
        let was = from.lost.expect("a rollback came before").was;
        let (own_locks, their_locks) = (was.mine[usize::from(own) - 1].locks, was.acc.locks);
        let own_locks = world.locks(0, own_locks, &self.ids[0]);
        let their_locks = world.locks(1, their_locks, &self.ids[1]);
        let shown = ShownLocks {
            own: Some(&own_locks),
            theirs: Some(&their_locks),
        };
        self.channel
            .adopt(&world.verified(0, voucher), theirs.as_ref(), shown)?;
        self.mine = lost.mine[..own.into()].to_vec();
        self.forgotten = (1..own).filter(|seq| usize::from(*seq) > had).collect();
        self.newest = theirs.or(self.newest.take());
        Ok(())
    }
}

fn fresh_mark(link: &Link, op: Op) -> bool {
    let fresh = |i: usize| link.chain.marks[0][i] != 0 && link.base.marks[0][i] == 0 && !link.h.told[i];
    matches!(op, Op::Convert(i) if fresh(i))
}
