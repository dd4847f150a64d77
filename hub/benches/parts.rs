//! What the parts of the path cost beside the engine and the ledger, which have benchmarks of their own: digests, codecs, the
//! journal on a real disk, the batch signature. Median (min-max) of five rounds; microseconds of CPU time, of the journal also
//! by the clock, because its disk works meanwhile. `cargo bench -p hub --bench parts`; what counts are ratios.

#![allow(
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    reason = "a benchmark"
)]

mod timing;

use hub::{
    digests,
    store::{Identity, JournalRecord, RedbStore, ShardId, Store},
};
use protocol_spec::{
    Address, Amount, ChannelId, Credit, Digest, Domain, Op, Payee, Payment, PaymentId, Seq, SignedVoucher,
    SignerKey, UnixSeconds, Voucher, VoucherSignature,
    batch::batch_digest,
    message::{Frame, Message, Notification, Request, binary, json},
};
use std::{hint::black_box, time::Instant};
use timing::{ROUNDS, cpu_us, median};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Vouchers looked at in a round.
const VOUCHERS: usize = 4_096;
/// Vouchers of one commit.
const BATCHES: [usize; 4] = [1, 32, 256, 1_024];
/// What one payment takes in the journal, with the payee's acknowledgement.
const RECORD_BYTES: usize = 330;
/// Commits of a round.
const COMMITS: usize = 32;

fn main() {
    let domain = Domain::new(31_337, Address::repeat_byte(3));
    digests_of_vouchers(&domain);
    codecs();
    seal(&domain);
    journal();
}

/// Runs `work` in rounds over `count` things; a row with what one of them took.
fn row(name: &str, count: usize, mut work: impl FnMut()) {
    let rounds = (0..ROUNDS).map(|_| {
        let before = cpu_us();
        work();
        (cpu_us() - before) / count as f64
    });
    println!("{name:<44}{:>24}", median(rounds.collect()));
}

fn digests_of_vouchers(domain: &Domain) {
    let vouchers: Vec<Voucher> = (0..VOUCHERS as u64).map(voucher).collect();
    println!("digest of a voucher");
    row("  one by one", VOUCHERS, || {
        for voucher in &vouchers {
            black_box(voucher.digest(domain));
        }
    });
    for batch in BATCHES {
        row(&format!("  {batch} together"), VOUCHERS, || {
            for some in vouchers.chunks(batch) {
                let encoded: Vec<_> = some.iter().map(Voucher::encoded).collect();
                black_box(digests::of_structs(domain, &encoded));
            }
        });
    }
}

fn codecs() {
    let requests: Vec<Message> = (0..VOUCHERS as u64).map(request).collect();
    let told: Vec<Message> = (0..VOUCHERS as u64).map(told).collect();
    for (name, messages) in [
        ("a client's payment", &requests),
        ("a credit with its proof", &told),
    ] {
        let bytes: Vec<Vec<u8>> = messages.iter().map(binary::encode).collect();
        let texts: Vec<String> = messages.iter().map(json::encode).collect();
        println!(
            "{name}: {} bytes in Borsh, {} in JSON",
            bytes[0].len(),
            texts[0].len()
        );
        row("  Borsh, encode", VOUCHERS, || {
            messages
                .iter()
                .for_each(|message| drop(black_box(binary::encode(message))));
        });
        row("  Borsh, decode", VOUCHERS, || {
            bytes
                .iter()
                .for_each(|bytes| drop(black_box(binary::decode(bytes).unwrap())));
        });
        row("  JSON, encode", VOUCHERS, || {
            messages
                .iter()
                .for_each(|message| drop(black_box(json::encode(message))));
        });
        row("  JSON, decode", VOUCHERS, || {
            texts
                .iter()
                .for_each(|text| drop(black_box(json::decode(text).unwrap())));
        });
    }
}

/// One signature over a tree, and every voucher with its proof as bytes.
fn seal(domain: &Domain) {
    let key = SignerKey::from_bytes(&[2; 32]).unwrap();
    let vouchers: Vec<Voucher> = (0..VOUCHERS as u64).map(voucher).collect();
    let ops = [credit(1)];
    let mut bytes = Vec::new();
    println!("seal of a voucher, its proof and its bytes included");
    for batch in BATCHES {
        row(&format!("  {batch} under one signature"), VOUCHERS, || {
            for some in vouchers.chunks(batch) {
                let encoded: Vec<_> = some.iter().map(Voucher::encoded).collect();
                let leaves = digests::of_structs(domain, &encoded);
                let tree = digests::tree(leaves);
                let signature = key.sign(&batch_digest(domain, &tree.root()));
                for (index, voucher) in some.iter().enumerate() {
                    bytes.clear();
                    binary::encode_voucher(&mut bytes, voucher, &signature, tree.siblings(index), &ops);
                    black_box(&bytes);
                }
            }
        });
    }
}

/// Appends to a database on the disk under the temporary directory, each durable before the next.
fn journal() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity {
        format_version: 1,
        chain_id: 31_337,
        genesis_hash: [1; 32],
        adjudicator: [3; 20],
        code_hash: [4; 32],
        hub_signer: [2; 20],
    };
    let store = RedbStore::open(dir.path().join("hub"), identity).unwrap();
    let loaded = runtime.block_on(store.acquire(ShardId(0))).unwrap();
    let mut number = loaded.last + 1;
    println!("journal: a payment in a durable commit of so many ({RECORD_BYTES} bytes each), by the clock");
    for batch in BATCHES {
        let rounds = (0..ROUNDS).map(|_| {
            let began = Instant::now();
            for _ in 0..COMMITS {
                let record = JournalRecord {
                    number,
                    bytes: vec![7; batch * RECORD_BYTES],
                };
                let durable = runtime
                    .block_on(store.append(ShardId(0), loaded.epoch, record))
                    .unwrap();
                assert_eq!(durable.number(), number);
                number += 1;
            }
            began.elapsed().as_secs_f64() * 1e6 / (COMMITS * batch) as f64
        });
        println!("{:<44}{:>24}", format!("  {batch}"), median(rounds.collect()));
    }
}

fn voucher(number: u64) -> Voucher {
    let mut id = [5; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Voucher {
        channel_id: ChannelId(id),
        seq: Seq(number + 1),
        paid: Amount(10_000 + u128::from(number)),
        ack_seq: Seq(number),
        ack_paid: Amount(7),
        locks: Digest::ZERO,
        history: Digest(id),
    }
}

fn request(number: u64) -> Message {
    let payment = Payment {
        payment_id: PaymentId([9; 16]),
        payee: Payee::Channel(ChannelId([8; 32])),
        amount: Amount(10),
        fee_max: Amount(1),
        expires_at: UnixSeconds(1_700_000_060),
        invoice: Digest::ZERO,
    };
    let signed = SignedVoucher {
        voucher: voucher(number),
        signature: VoucherSignature::Direct(protocol_spec::Signature([3; 65])),
    };
    let frame = Frame {
        voucher: signed,
        ops: vec![Op::Pay(payment)],
    };
    Message::Request {
        id: number,
        call: Box::new(Request::Voucher(frame)),
    }
}

/// The hub's, with the proof of a batch of a thousand.
fn told(number: u64) -> Message {
    let signed = SignedVoucher {
        voucher: voucher(number),
        signature: VoucherSignature::Batch {
            root_signature: protocol_spec::Signature([3; 65]),
            proof: vec![Digest([6; 32]); 10],
        },
    };
    let frame = Frame {
        voucher: signed,
        ops: vec![credit(number)],
    };
    Message::Notification(Box::new(Notification::Voucher(frame)))
}

fn credit(number: u64) -> Op {
    Op::Credit(Credit {
        payment_id: PaymentId([9; 16]),
        payer: Digest([1; 32]),
        amount: Amount(10 + u128::from(number)),
        invoice: Digest::ZERO,
    })
}
