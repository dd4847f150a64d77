//! Journal records and rows of the state: whatever the bytes, they are taken or refused, and what was taken can be
//! written down and read back. (In a database they stand behind checksums; this is the second line.)

use hub::engine::SessionId;
use hub::ledger::Resumption;
use hub::{
    ledger::{
        Capacity, ChainBlock, ChainFact, ChainPosition, Input, Ledger, LockPolicy, Origin, Policy, Reserve,
        RowItems, Tables, Tariff,
    },
    store::{Checkpoint, Table},
};
use protocol_spec::{
    Address, Amount, Channel, Config, Digest, Domain, Op, Payee, Payment, PaymentId, Side, Signature,
    SignedVoucher, UnixSeconds, VerifiedVoucher, VoucherSignature,
    channel::{Clock, Delays},
    message::{RegisterCall, ResumeCall},
};

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const CLOCK: Clock = Clock { now: NOW, chain: NOW };
const TOKEN: Address = Address::repeat_byte(7);
const HUB: Address = Address::repeat_byte(1);
const HUB_SIGNER: Address = Address::repeat_byte(2);
const MONEY: Amount = Amount(1_000_000);
const CLIENTS: usize = 2;

/// What a small hub wrote: records in order, and the rows of its state.
pub(crate) struct Written {
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) state: Checkpoint,
}

thread_local! {
    static SMALL: Written = Written::of(FEW);
    static LARGE: Written = Written::of(MANY);
}

/// Payments of a hub, and of one whose lists have more than a block.
pub(crate) const FEW: u8 = 3;
pub(crate) const MANY: u8 = 150;

/// First bytes from here on are of the one with many.
pub(crate) const MANY_KIND: u8 = 192;

/// The first byte says what the others are, and of which hub.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let hub = if *kind < MANY_KIND { &SMALL } else { &LARGE };
    hub.with(|written| match kind % 6 {
        0 => replayed(written, rest),
        1 => restored(written, Table::Channels, rest),
        2 => restored(written, Table::Payments, rest),
        3 => restored(written, Table::Events, rest),
        4 => restored(written, Table::Unacknowledged, rest),
        _ => restored(written, Table::Meta, rest),
    });
}

/// After the records that are right comes one of these bytes.
fn replayed(written: &Written, bytes: &[u8]) {
    let mut ledger = new();
    for (number, record) in (1..).zip(&written.records) {
        ledger.replay(number, record).unwrap();
    }
    let number = written.records.len() as u64 + 1;
    if ledger.replay(number, bytes).is_ok() {
        reads_back(&mut ledger);
    }
}

/// One row of the state is replaced.
fn restored(written: &Written, table: Table, bytes: &[u8]) {
    let mut tables = tables_of(&written.state);
    let rows = match table {
        Table::Channels => &mut tables.channels,
        Table::Payments => &mut tables.payments,
        Table::Events => &mut tables.events,
        Table::Unacknowledged => &mut tables.unacknowledged,
        _ => {
            tables.meta = Some(bytes.to_vec());
            &mut Vec::new()
        }
    };
    if let Some((key, value)) = rows.first_mut() {
        let room = key.len().min(bytes.len());
        // A row of a list has a position in its key: those bytes come first.
        let split = if table == Table::Channels { 0 } else { 8.min(room) };
        let at = key.len() - split;
        key[at..].copy_from_slice(&bytes[..split]);
        *value = bytes[split..].to_vec();
    }
    let mut ledger = new();
    if ledger.restore(written.state.upto, tables).is_ok() {
        reads_back(&mut ledger);
    }
}

/// All of its state is written, read, and written again.
fn reads_back(ledger: &mut Ledger) {
    let state = ledger.checkpoint_all();
    let mut again = new();
    let read = again.restore(state.upto, tables_of(&state));
    read.expect("what was written is read");
    assert_eq!(again.checkpoint_all().puts, state.puts, "it is another state");
}

fn tables_of(state: &Checkpoint) -> Tables {
    let mut tables = Tables::default();
    for (table, key, value) in &state.puts {
        let row = (key.clone(), value.clone());
        match table {
            Table::Meta => tables.meta = Some(value.clone()),
            Table::Channels => tables.channels.push(row),
            Table::Payments => tables.payments.push(row),
            Table::Events => tables.events.push(row),
            Table::Unacknowledged => tables.unacknowledged.push(row),
            Table::Evidence | Table::Settings => {}
        }
    }
    // As a store has them.
    let lists = [
        &mut tables.channels,
        &mut tables.payments,
        &mut tables.events,
        &mut tables.unacknowledged,
    ];
    lists.into_iter().for_each(|rows| rows.sort_unstable());
    tables
}

fn domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(3))
}

fn new() -> Ledger {
    Ledger::new(domain(), HUB, HUB_SIGNER).with_rows(RowItems::FEW)
}

fn config(number: usize) -> Config {
    let account = Address::repeat_byte(0x10 + number as u8);
    Config {
        client: account,
        client_signer: account,
        hub: HUB,
        hub_signer: HUB_SIGNER,
        token: TOKEN,
        challenge_period_s: 3_600,
        salt: Digest::ZERO,
    }
}

impl Written {
    /// After so many payments.
    pub(crate) fn of(payments: u8) -> Self {
        let mut ledger = new();
        let mut records = Vec::new();
        let mut commit = |ledger: &mut Ledger, inputs| {
            let record = ledger.commit(inputs, NOW).record;
            records.extend(record.map(|(_, bytes)| bytes));
        };
        commit(&mut ledger, vec![Input::Policy(policy())]);
        let mut clients: Vec<Channel> = (0..CLIENTS)
            .map(|number| {
                commit(&mut ledger, opening(number));
                let mut channel =
                    Channel::new(config(number), &domain(), Side::Client, Delays::default()).unwrap();
                channel.deposit_confirmed(Side::Client, MONEY);
                channel.deposit_confirmed(Side::Hub, MONEY);
                channel
            })
            .collect();
        let payee = clients[1].id();
        for number in 1..=payments {
            let op = Op::Pay(Payment {
                payment_id: PaymentId([number; 16]),
                payee: Payee::Channel(payee),
                amount: Amount(10),
                fee_max: Amount(1),
                expires_at: NOW.after(60),
                invoice: Digest::ZERO,
            });
            let ops = vec![op];
            let issued = clients[0].issue(&ops, &domain(), CLOCK).unwrap();
            let signature = VoucherSignature::Direct(Signature([0; 65]));
            let signed = SignedVoucher {
                voucher: issued.voucher,
                signature,
            };
            let voucher = VerifiedVoucher::assume_verified(signed, &domain(), config(0).client_signer);
            let origin = origin(0, u64::from(number));
            commit(&mut ledger, vec![Input::Frame { origin, voucher, ops }]);
        }
        Self {
            records,
            state: ledger.checkpoint(),
        }
    }
}

fn origin(number: usize, id: u64) -> Origin {
    Origin {
        session: SessionId(number as u64 + 1),
        id,
        signer: config(number).client_signer,
    }
}

fn opening(number: usize) -> Vec<Input> {
    let config = config(number);
    let id = config.id(&domain());
    let facts = vec![
        ChainFact::Opened(config.clone()),
        ChainFact::Deposited {
            channel: id,
            total: Amount(2 * MONEY.0),
            client_net: (MONEY, Amount::ZERO),
        },
        ChainFact::Reserved {
            channel: id,
            amount: MONEY,
        },
    ];
    let position = ChainPosition {
        number: number as u64 + 1,
        hash: [9; 32],
        timestamp: NOW,
    };
    let register = RegisterCall {
        config,
        owner_signature: Some(Signature([0; 65])),
    };
    let call = ResumeCall {
        channel_id: id,
        sent: None,
        received: None,
        sent_locks: None,
        received_locks: None,
    };
    let resumption = Resumption {
        call,
        sent: None,
        received: None,
    };
    vec![
        Input::Chain(ChainBlock { position, facts }),
        Input::Register(origin(number, 100), register),
        Input::Resume(origin(number, 101), Box::new(resumption)),
    ]
}

fn policy() -> Policy {
    Policy {
        server: "hub.test".to_owned(),
        log_epoch: 1,
        delays: Delays::default(),
        challenge_period_s: 3_600,
        retention_s: 7 * 24 * 3_600,
        events_per_channel_max: 10_000,
        remembered_max: 10_000_000,
        locks: LockPolicy::standard(Delays::default()),
        tokens: vec![Tariff {
            token: TOKEN,
            fee_flat: Amount(1),
            fee_ppm: 0,
            locked_max: MONEY,
            reserve: Reserve::default(),
            capacity: Capacity::default(),
            send_min: Amount::ZERO,
        }],
    }
}
