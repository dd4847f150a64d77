//! The model's honest party and the real `Channel` remember the same.

use super::party::Party;
use super::world::{World, amount};
use crate::chain::{Chain, LOCKS, Voucher, sum};
use crate::link::{Link, LinkModel};
use protocol_spec::{Amount, Side, channel::Half};
use std::fmt::Debug;

fn equal<T: PartialEq + Debug>(what: &str, model: T, real: T) -> Result<(), String> {
    if model == real {
        Ok(())
    } else {
        Err(format!("{what}: {model:?} in the model, {real:?} in the channel"))
    }
}

/// Everything that both have. `now` is the step.
pub(super) fn agree(
    world: &World,
    model: &LinkModel,
    party: &Party,
    link: &Link,
    now: u8,
) -> Result<(), String> {
    let (h, channel) = (&link.h, &party.channel);
    half(world, party, 0, &h.newest(), channel.sent())?;
    half(world, party, 1, &h.acc, channel.received())?;
    equal("an ack is due", h.unanswered, channel.must_ack())?;
    let phase = match () {
        () if h.seen => "disputed",
        () if h.close.is_some() => "closing",
        () => "open",
    };
    equal("phase", phase, channel.phase().name())?;
    money(world, model, party, link, now)?;
    for i in 0..LOCKS {
        lock(world, model, party, link, i)?;
    }
    let again = party.again()?;
    equal("record", &again, channel)
}

fn half(world: &World, party: &Party, payer: usize, v: &Voucher, half: &Half) -> Result<(), String> {
    let direction = |what: &str| format!("{what} paid by {payer}");
    let model = (
        u64::from(v.seq),
        amount(v.paid),
        u64::from(v.ack_seq),
        amount(v.ack_paid),
    );
    let real = (half.seq.0, half.paid, half.ack_seq.0, half.ack_paid);
    equal(&direction("voucher"), model, real)?;
    equal(&direction("locked"), amount(sum(v.locks)), half.locks.total())?;
    let commitment = world.commitment(payer, v.locks, &party.ids[payer]);
    equal(&direction("commitment"), commitment, half.commitment())
}

fn money(world: &World, model: &LinkModel, party: &Party, link: &Link, now: u8) -> Result<(), String> {
    let (h, channel, rules) = (&link.h, &party.channel, model.terms.rules);
    let sight = model.sight(link, now);
    let pending = h.wd.as_ref().map(|w| world.withdraw(channel, w));
    equal("pending withdrawal", pending.as_ref(), channel.pending_withdraw())?;
    let (own, acc) = (h.newest(), h.acc);
    let (mut spendable, mut withdrawn) = ([0; 2], [0; 2]);
    for (side, (paid, locked, got)) in [
        (own.paid, sum(own.locks), acc.paid),
        (acc.paid, sum(acc.locks), own.paid),
    ]
    .into_iter()
    .enumerate()
    {
        withdrawn[side] = h.withdrawn(rules, &sight, side);
        let has = i16::from(sight.dep[side]) + i16::from(got);
        let gone = i16::from(withdrawn[side]) + i16::from(paid) + i16::from(locked);
        spendable[side] = u128::try_from(has - gone).unwrap_or(0);
        equal(
            "deposit",
            amount(sight.dep[side]),
            channel.funds().deposit(world.side(side)),
        )?;
        equal(
            "withdrawn",
            amount(withdrawn[side]),
            channel.withdrawn(world.side(side)),
        )?;
    }
    equal("spendable", Amount(spendable[0]), channel.spendable())?;
    equal(
        "the other's spendable",
        Amount(spendable[1]),
        channel.other_spendable(),
    )?;
    let mut shown = Chain {
        dep: sight.dep,
        wd: sight.wd,
        ..Chain::default()
    };
    shown.submit(&model.terms, 0, &own);
    shown.submit(&model.terms, 1, &acc);
    let balances = shown.balances(&model.terms).map(amount);
    let (client, hub) = channel.settlement();
    let real = if world.terms.side == Side::Client {
        [client, hub]
    } else {
        [hub, client]
    };
    equal("settlement", balances, real)
}

fn lock(world: &World, model: &LinkModel, party: &Party, link: &Link, i: usize) -> Result<(), String> {
    let (h, channel) = (&link.h, &party.channel);
    for (payer, locks) in [(0, h.newest().locks), (1, h.acc.locks)] {
        let (id, side) = (party.ids[payer][i], world.side(payer));
        let what = |what: &str| format!("{what}, lock {i} of {payer}");
        let half = if payer == 0 {
            channel.sent()
        } else {
            channel.received()
        };
        equal(
            &what("in the voucher"),
            locks[i] > 0,
            half.locks.lock(id).is_some(),
        )?;
        let mark = link.base.marks[payer][i] != 0;
        equal(&what("marked"), mark, id != 0 && channel.is_marked(side, id))?;
        if locks[i] == 0 {
            continue;
        }
        let has = |mut ids: Box<dyn Iterator<Item = u64> + '_>| ids.any(|known| known == id);
        if payer == 0 {
            equal(
                &what("told"),
                h.told[i],
                has(Box::new(channel.told_witnesses().map(|told| told.0))),
            )?;
            equal(
                &what("consented"),
                h.got[i],
                has(Box::new(channel.consented_locks())),
            )?;
        } else {
            let known = h.known[i] != crate::honest::Known::No;
            equal(
                &what("known"),
                known,
                has(Box::new(channel.known_witnesses().map(|known| known.0))),
            )?;
            equal(
                &what("given up"),
                h.given[i],
                has(Box::new(channel.consents_given())),
            )?;
        }
    }
    // R10: once own, until it is converted or dead.
    if h.leaving[i] != 0 || h.expired[i] || h.newest().locks[i] > 0 {
        let live = !h.dead(model.terms.rules, i);
        equal(
            &format!("own lock {i} is live"),
            live,
            channel.is_live(party.ids[0][i]),
        )?;
    }
    Ok(())
}
