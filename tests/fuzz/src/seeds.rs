//! Inputs to begin with: real messages, files, records, and actions that reach far.

use crate::journal::{FEW, MANY, MANY_KIND, Written};
use hub::store::Table;
use protocol_spec::{
    Accept, Address, Amount, Channel, Config, Credit, Digest, DirectionEvidence, Domain, Evidence, Op,
    Package, PaymentId, Side, SignedAccept, SignedVoucher, SignerKey, UnixSeconds, VoucherSignature,
    channel::{Clock, Delays},
};

const MESSAGES: &str = include_str!("../../../protocol-spec/vectors/message.json");
const CONFIG: &str = include_str!("../../../hub/src/ops/hub.toml");
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn messages(encoding: &str) -> Vec<String> {
    let vectors: serde_json::Value = serde_json::from_str(MESSAGES).unwrap();
    let all = vectors[encoding].as_array().unwrap();
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

pub(crate) fn json() -> Vec<Vec<u8>> {
    messages("json").into_iter().map(String::into_bytes).collect()
}

pub(crate) fn borsh() -> Vec<Vec<u8>> {
    let bytes = |text: &String| {
        let digits = text.trim_start_matches("0x").as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    };
    messages("borsh").iter().map(bytes).collect()
}

/// Records of all lengths, with checkpoints and trims, ended in all ways.
pub(crate) fn disks() -> Vec<Vec<u8>> {
    let seed = [7; 8];
    let lived = |times: usize| [0, 40, 1, 200, 2, 90, 8, 255, 10, 255].repeat(times);
    let ends: [&[u8]; 6] = [
        &[12, 0],
        &[12, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        &[12, 2, 3, 3, 3, 3, 3, 3, 3, 3],
        &[13, 9],
        &[14, 3],
        &[15, 5],
    ];
    let life = |end: &[u8], times| [lived(times), end.to_vec(), lived(1)].concat();
    let lives = ends
        .iter()
        .map(|end| [seed.to_vec(), life(end, 3), life(end, 1)].concat());
    lives.collect()
}

/// Deposits on both sides, then a bit of everything.
pub(crate) fn actions() -> Vec<Vec<u8>> {
    let deposits = [0, 0, 255, 0, 1, 255];
    let pay = [5, 1, 3, 1, 7, 7, 9, 9, 9, 9];
    let credit = [1, 3];
    let mut all = vec![Vec::new(), deposits.to_vec()];
    for length in [4, 16] {
        let mut one = deposits.to_vec();
        for number in 0..length {
            one.extend(if number % 3 == 1 { &credit[..] } else { &pay[..] });
        }
        one.extend([4, 3, 0, 3, 1]);
        all.push(one);
    }
    all.push((0..=255).collect());
    all
}

/// Key, form, digest, and what is changed in the signature: nothing, or one part of it.
pub(crate) fn signatures() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for key in 0..8 {
        for form in 0..4 {
            let mut one = vec![key, form];
            one.extend([key ^ 0x5a; 32]);
            all.push(one.clone());
            one.extend([0; 65]);
            *one.last_mut().unwrap() = 1;
            all.push(one);
        }
    }
    all
}

pub(crate) fn evidence() -> Vec<Vec<u8>> {
    let (key, hub) = (
        SignerKey::from_bytes(&[1; 32]).unwrap(),
        SignerKey::from_bytes(&[2; 32]).unwrap(),
    );
    let domain = Domain::new(31_337, Address::repeat_byte(3));
    let config = Config {
        client: key.address(),
        client_signer: key.address(),
        hub: Address::repeat_byte(4),
        hub_signer: hub.address(),
        token: Address::ZERO,
        challenge_period_s: 86_400,
        salt: Digest::ZERO,
    };
    let clock = Clock { now: NOW, chain: NOW };
    let channel = |side| {
        let mut channel = Channel::new(config.clone(), &domain, side, Delays::default()).unwrap();
        channel.deposit_confirmed(Side::Hub, Amount(1000));
        channel
    };
    let ops = [Op::Credit(Credit {
        payment_id: PaymentId([1; 16]),
        payer: Digest::ZERO,
        amount: Amount(10),
        invoice: Digest::ZERO,
    })];
    let issued = channel(Side::Hub).issue(&ops, &domain, clock).unwrap();
    let signature = VoucherSignature::Direct(hub.sign(&issued.digest));
    let signed = SignedVoucher {
        voucher: issued.voucher,
        signature,
    };
    let mut mine = channel(Side::Client);
    let verified = signed.verify(&domain, &hub.public(), true).unwrap();
    mine.accept(&verified, &ops, clock).unwrap();
    let evidence = Evidence {
        format: Evidence::FORMAT.to_owned(),
        chain_id: domain.chain_id,
        adjudicator: domain.adjudicator,
        config,
        side: Side::Client,
        received: DirectionEvidence::received_by(&mine),
        sent: DirectionEvidence::default(),
        deposits: (Amount(0), Amount(1000)),
        never_locked: false,
    };
    let accept: Accept = mine
        .plan_accept(Address::repeat_byte(5), false, NOW.after(60))
        .unwrap()
        .unwrap();
    let signature = key.sign(&accept.digest(&domain));
    let package = Package::new(&evidence, SignedAccept { accept, signature });
    vec![
        serde_json::to_vec(&evidence).unwrap(),
        serde_json::to_vec(&package).unwrap(),
    ]
}

/// The template, and the same with every key that it shows set.
pub(crate) fn config() -> Vec<Vec<u8>> {
    let set: Vec<&str> = CONFIG
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.contains(" = ") || key.starts_with('[') => key,
            _ => line,
        })
        .collect();
    vec![CONFIG.as_bytes().to_vec(), set.join("\n").into_bytes()]
}

pub(crate) fn journal() -> Vec<Vec<u8>> {
    let mut all = of_hub(&Written::of(FEW), 0);
    // Of each kind one: they are long.
    for seed in of_hub(&Written::of(MANY), MANY_KIND) {
        if all.iter().all(|other| other.first() != seed.first()) {
            all.push(seed);
        }
    }
    for kind in (0..6).chain(MANY_KIND..MANY_KIND + 6) {
        let has = all.iter().any(|seed| seed.first() == Some(&kind));
        assert!(has, "nothing was written of kind {kind}");
    }
    all
}

fn of_hub(written: &Written, hub: u8) -> Vec<Vec<u8>> {
    let tagged = |kind: u8, bytes: &[u8]| [&[hub + kind], bytes].concat();
    let row = |key: &[u8], value: &[u8]| [&key[key.len() - 8..], value].concat();
    let mut all: Vec<_> = written.records.iter().map(|record| tagged(0, record)).collect();
    for (table, key, value) in &written.state.puts {
        match table {
            Table::Channels => all.push(tagged(1, value)),
            Table::Payments => all.push(tagged(2, &row(key, value))),
            Table::Events => all.push(tagged(3, &row(key, value))),
            Table::Unacknowledged => all.push(tagged(4, &row(key, value))),
            Table::Meta => all.push(tagged(5, value)),
            _ => {}
        }
    }
    all
}

/// Clients who register, resume and pay, over both encodings; every kind of step after that; an HTTP head.
pub(crate) fn sessions() -> Vec<Vec<u8>> {
    let mut ready = Vec::new();
    for step in 0..3 {
        for who in 0..3 {
            ready.extend([step, who]);
        }
    }
    let mut all = Vec::new();
    for borsh in [0, 1] {
        let mut paid = [&[0, borsh][..], &ready].concat();
        for who in 0..3 {
            paid.extend([3, who, (who + 1) % 3, 0, 0, 0, 0, 0, 0, who + 1, 0, 0, 2]);
        }
        for step in 6..20 {
            let mut one = paid.clone();
            for number in 0..4 {
                one.extend([step, number, 17, number, 40, 0, 7, 1, number, 0, 5]);
            }
            all.push(one);
        }
        for template in 0..17 {
            all.push(
                [
                    &paid[..],
                    &[11, 1, 9, 8, template, 1, 1, 12, 2, 9, 8, template, 0, 40, 0, 7],
                ]
                .concat(),
            );
        }
    }
    let head = b"\x01GET / HTTP/1.1\r\nHost: hub.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n";
    all.push(head.to_vec());
    all
}

/// Honest nodes by every way, every kind of bend at every operation, other answers, other digits; transactions that are stuck.
pub(crate) fn node_answers() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for way in [0_u8, 2, 4] {
        let begin = [way, 0, 1];
        let mut honest = begin.to_vec();
        for operation in 0..22 {
            honest.extend([operation, 0, 9, 6, 1]);
            honest.extend([operation, 0, 0x20, 5, 0]);
        }
        all.push(honest);
        for operation in 0..16_u8 {
            let [mut kinds, mut others, mut digits] = [(); 3].map(|()| begin.to_vec());
            let arguments = [operation, 6, 1];
            for kind in 0..24_u8 {
                let place = kind.wrapping_mul(37).wrapping_add(operation);
                let value = kind.wrapping_mul(11).wrapping_add(way);
                // One bend, of the first request.
                kinds.extend([operation, 1, 0, kind, place, 0, value]);
                kinds.extend(vec![b'1'; if matches!(kind, 17 | 18) { value.into() } else { 0 }]);
                kinds.extend(arguments);
            }
            // Of those who wait the third: the block.
            let at = if operation == 13 { 2 } else { 0 };
            for number in 0..30 {
                others.extend([operation, 1, at, 10, 0, 0, number]);
                others.extend(arguments);
                digits.extend([operation, 1, at, 6, number, 0, 0x1a]);
                digits.extend(arguments);
            }
            all.extend([kinds, others, digits]);
        }
    }
    all.extend([0, 2].map(stuck));
    all
}

/// Blocks are dear: sends behind one of another process, looked after, dropped, replaced by a reorg.
fn stuck(way: u8) -> Vec<u8> {
    let mut one = vec![way, 0, 0];
    one.extend([18, 0, 1, 0, 0, 19, 0, 1, 0, 0]);
    for kind in 0..5 {
        one.extend([12, 0, 0, kind, 200]);
    }
    for _ in 0..6 {
        // What the next block asks for, a look, and a block that asks for it.
        one.extend([20, 0, 200, 0, 0, 14, 0, 0, 0, 0, 20, 0, 200, 0, 0, 16, 0, 1, 0, 0]);
    }
    one.extend([19, 0, 0, 0, 0, 14, 0, 0, 0, 0, 17, 0, 1, 0, 0, 18, 0, 0, 0, 0]);
    one.extend([16, 0, 3, 0, 0, 14, 0, 0, 0, 0, 13, 0, 1, 0, 0]);
    one
}
