//! What a rule book must answer, so that the real one can be swapped for one with a bug.

use protocol_spec::settlement::{Adjudication, Direction, Funds};
use protocol_spec::{Amount, Digest, LocksOpening, Side, UnixSeconds, Voucher};

/// What is compared with the bytecode: the real module, or a copy with a bug in it.
pub(crate) trait Rules: Clone + Sync {
    fn direction(&self, payer: Side) -> &Direction;
    fn submit(&mut self, payer: Side, voucher: &Voucher, opening: Option<&LocksOpening>);
    fn open_locks(&mut self, payer: Side, opening: &LocksOpening);
    fn resolve(&mut self, payer: Side, leaf: Digest, amount: Amount, in_time: bool) -> bool;
    fn withdraw(&mut self, client: (u64, Amount), hub: (u64, Amount));
    fn final_at(&self, window_end: UnixSeconds, challenge_period_s: u64) -> UnixSeconds;
    fn balances(&self, funds: &Funds) -> (Amount, Amount);
    fn mark(&self, payer: Side, leaf: Digest) -> Option<u64>;
}

impl Rules for Adjudication {
    fn direction(&self, payer: Side) -> &Direction {
        self.direction(payer)
    }
    fn submit(&mut self, payer: Side, voucher: &Voucher, opening: Option<&LocksOpening>) {
        self.submit(payer, voucher, opening);
    }
    fn open_locks(&mut self, payer: Side, opening: &LocksOpening) {
        self.open_locks(payer, opening);
    }
    fn resolve(&mut self, payer: Side, leaf: Digest, amount: Amount, in_time: bool) -> bool {
        self.resolve(payer, leaf, amount, in_time)
    }
    fn withdraw(&mut self, client: (u64, Amount), hub: (u64, Amount)) {
        self.withdraw(client, hub);
    }
    fn final_at(&self, window_end: UnixSeconds, challenge_period_s: u64) -> UnixSeconds {
        self.final_at(window_end, challenge_period_s)
    }
    fn balances(&self, funds: &Funds) -> (Amount, Amount) {
        self.balances(funds)
    }
    fn mark(&self, payer: Side, leaf: Digest) -> Option<u64> {
        self.marks.get(&(payer, leaf)).copied()
    }
}
