//! What a payee signs for others: invoices, and countersignatures for a submitter.

use crate::common::*;
use protocol_spec::{
    Accept, Address, Amount, ChannelId, Digest, Invoice, Lock, SignedAccept, SignedInvoice, UnixSeconds,
};

const E: u64 = START + 5000;

fn invoice() -> Invoice {
    Invoice {
        channel_id: ChannelId([1; 32]),
        amount: Amount(10),
        hash: lock(1, 10, E).hash,
        resolver: Address::ZERO,
        expires_at: UnixSeconds(START + 60),
        memo: Digest::ZERO,
    }
}

#[test]
fn an_invoice_is_its_payees_or_nobodys() {
    let signed = SignedInvoice::sign(invoice(), &domain(), &key(1));
    signed.verify(&domain(), key(1).address()).unwrap();
    assert_eq!(name(signed.verify(&domain(), key(2).address())), "WrongSigner");
}

#[test]
fn an_invoice_is_paid_by_enough_on_its_condition_in_time_for_the_payee_to_collect() {
    let paid = |change: &dyn Fn(&mut Lock), channel: u8, now: u64, act_s: u64| {
        let mut lock = lock(1, 10, E);
        change(&mut lock);
        invoice().paid_by(&ChannelId([channel; 32]), &lock, UnixSeconds(now), act_s)
    };
    let as_asked = |_: &mut Lock| {};
    assert!(paid(&as_asked, 1, START, 1800));
    assert!(paid(&|lock| lock.amount = Amount(11), 1, START, 1800));
    assert!(!paid(&|lock| lock.amount = Amount(9), 1, START, 1800));
    assert!(!paid(&|lock| lock.hash = Digest([1; 32]), 1, START, 1800));
    assert!(!paid(
        &|lock| lock.resolver = Address::repeat_byte(5),
        1,
        START,
        1800
    ));
    assert!(!paid(&as_asked, 2, START, 1800), "in another channel");
    // Until the invoice ends, and while there is more time than the payee needs.
    assert!(paid(&as_asked, 1, START + 59, 1800));
    assert!(!paid(&as_asked, 1, START + 60, 1800));
    assert!(!paid(&as_asked, 1, START + 61, 1800));
    assert!(paid(&as_asked, 1, START, 4999));
    assert!(!paid(&as_asked, 1, START, 5000));
    assert!(!paid(&as_asked, 1, START, 5001));
}

#[test]
fn r28_a_countersignature_is_the_payees_and_counts_up_to_its_deadline() {
    let accept = Accept {
        voucher: Digest([1; 32]),
        submitter: Address::repeat_byte(7),
        may_dispute: true,
        deadline: UnixSeconds(START),
    };
    let signature = key(1).sign(&accept.digest(&domain()));
    let signed = SignedAccept { accept, signature };
    signed.verify(&domain(), key(1).address()).unwrap();
    assert_eq!(name(signed.verify(&domain(), key(2).address())), "WrongSigner");
    let expired = [START - 1, START, START + 1].map(|now| signed.expired(UnixSeconds(now)));
    assert_eq!(expired, [false, false, true]);
    let shown = signed.to_abi();
    assert_eq!((shown.mayDispute, shown.deadline), (true, START));
    assert_eq!(shown.signature[..], signed.signature.0);
}
