//! What the chain keeps of locks beyond one voucher, on a real adjudicator: marks (R17), and vouchers without their openings.

use crate::{
    common::{Court, DEPOSIT, eventually, key},
    court::{CREDITED, LIFE_S, LOCKED, finalized, locked, merchant},
};
use client_sdk::{Address, Amount, Condition, Digest, MemoryStore};
use protocol_spec::{
    CancelDispute, Seq, Side,
    abi::{IAdjudicator, Status},
    calls,
    limits::ACT_DEFAULT_S,
};
use std::time::Duration;

/// Both cancel the first dispute.
async fn cancel(court: &Court) {
    let message = CancelDispute {
        channel_id: court.id(),
        dispute_no: Seq(1),
        deadline: court.hub.clock().now.after(600),
    };
    let digest = message.digest(&court.hub.domain);
    let (client, hub) = (key(1).sign(&digest), key(9).sign(&digest));
    let call = calls::cancel_dispute(&court.config, &message, &client.0, &hub.0);
    court.send(&key(9), &call, 0).await;
}

/// The lock was resolved in a dispute that both have cancelled, and has expired since. The next voucher still has it: shown in
/// another dispute it takes the old count away, and the lock counts again.
#[tokio::test(start_paused = true)]
async fn r17_a_lock_that_was_resolved_in_a_cancelled_dispute_counts_in_the_next_one() {
    for restarted in [false, true] {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let (client, channel) = merchant(&court, court.client(store.clone())).await;
        locked(&court, &channel).await;
        court.pass(LIFE_S - ACT_DEFAULT_S).await;
        court
            .until("a dispute in which the lock counts", |state| {
                state.hubLocks.counted == LOCKED
            })
            .await;
        // The mark is final, and was seen.
        court.pass(10).await;
        cancel(&court).await;
        court.pass(10).await;
        let phase = || channel.view().unwrap().phase;
        eventually("both go on", || phase() == "open").await;
        court.pass(LIFE_S).await;
        assert!(
            matches!(court.state().await.status, Status::Open),
            "a lock that is marked needs no dispute"
        );
        court.hub.credit(&court.id(), 1);
        let received = || channel.view().unwrap().balance.received;
        eventually("the newer voucher", || received() == Amount(CREDITED + 1)).await;
        let client = match restarted {
            true => {
                client.shutdown().await;
                court.dispute().await;
                court.client(store).connect().await.unwrap()
            }
            false => {
                court.dispute().await;
                client
            }
        };
        court
            .until("the newer voucher, in which the lock counts", |state| {
                state.hubSeq == 3 && state.hubLocks.counted == LOCKED
            })
            .await;
        finalized(&court).await;
        let all = DEPOSIT + CREDITED + 1 + LOCKED;
        assert_eq!(court.paid_out().await, all, "restarted {restarted}");
        client.shutdown().await;
    }
}

/// Whoever may submit for the client keeps back what the voucher's locks are. After the window it would be too late to open them.
#[tokio::test(start_paused = true)]
async fn r17_a_voucher_that_was_shown_without_its_opening_is_opened_in_the_window() {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    let condition = Condition::data(Address::repeat_byte(0x0e), b"deal");
    let hour = Duration::from_secs(3600);
    let invoice = channel.invoice_on(LOCKED, hour, Digest::ZERO, condition).await;
    let invoice = invoice.unwrap();
    court.lock(&invoice, LIFE_S);
    channel.held(&invoice).await.unwrap();
    let voucher = channel.evidence().await.unwrap().received.voucher.unwrap();
    let bare = IAdjudicator::disputeCall {
        config: court.config.to_abi(),
        submissions: vec![calls::submission(Side::Hub, &voucher, None)],
        resolutions: Vec::new(),
    };
    court.send(&key(1), &bare, 0).await;
    court.until("it is opened", |state| state.hubLocks.opened).await;
    assert_eq!(court.state().await.hubSeq, voucher.voucher.seq.0);
    client.shutdown().await;
}
