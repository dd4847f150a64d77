//! The Ethereum app on the device: commands in, answers out, as app-ethereum's `ethapp.adoc` has them.

use alloy_primitives::{Address, keccak256};
use k256::ecdsa::{SigningKey, VerifyingKey};

const OK: u16 = 0x9000;
const DECLINED: u16 = 0x6985;
const NOT_BLINDLY: u16 = 0x6a80;
const LOCKED: u16 = 0x5515;

/// The app, open and unlocked unless it is told to behave otherwise.
pub struct App {
    behaviour: String,
    /// What came of a transaction or typed data.
    payload: Vec<u8>,
}

impl App {
    pub fn new(behaviour: &str) -> Self {
        Self {
            behaviour: behaviour.to_owned(),
            payload: Vec::new(),
        }
    }

    /// Answers one command; nothing: it waits for somebody.
    pub fn exchange(&mut self, command: &[u8]) -> Vec<u8> {
        let (header, data) = command.split_at(4);
        let data = match data {
            [] => data,
            [length, data @ ..] => &data[..usize::from(*length)],
        };
        if self.behaviour == "locked" {
            return LOCKED.to_be_bytes().to_vec();
        }
        match (header[1], header[2]) {
            (0x02, _) => self.address(data),
            (0x06, _) => match self.behaviour.as_str() {
                "old" => answer(&[1, 1, 5, 9]),
                _ => answer(&[1, 1, 22, 1]),
            },
            (0x04, 0) if matches!(data.get(1 + 4 * usize::from(data[0])), Some(2)) => self.begin(data),
            (0x04, 0x80) => self.go_on(data),
            (0x0c, 0) => {
                let (path, hashes) = split(data);
                assert_eq!(hashes.len(), 64);
                self.sign(path, &[&[0x19, 1], hashes].concat(), 27)
            }
            _ => 0x6d00_u16.to_be_bytes().to_vec(),
        }
    }

    fn begin(&mut self, data: &[u8]) -> Vec<u8> {
        self.payload.clear();
        self.go_on(data)
    }

    /// A transaction of type 2: complete when its list is.
    fn go_on(&mut self, data: &[u8]) -> Vec<u8> {
        self.payload.extend(data);
        let payload = self.payload.clone();
        let (path, tx) = split(&payload);
        match list_bytes(&tx[1..]) {
            Some(length) if tx.len() > length => self.sign(path, &tx[..=length], 0),
            _ => OK.to_be_bytes().to_vec(),
        }
    }

    /// `v`, `r`, `s`, over the hash of `bytes`.
    fn sign(&self, path: &[u8], bytes: &[u8], first: u8) -> Vec<u8> {
        let key = match self.behaviour.as_str() {
            "declines" => return DECLINED.to_be_bytes().to_vec(),
            "sees" => return NOT_BLINDLY.to_be_bytes().to_vec(),
            "sleeps" => return Vec::new(),
            "short" => return answer(&[0; 9]),
            "dead" => return vec![0x90],
            "other-key" => SigningKey::from_slice(&[0x31; 32]).unwrap(),
            _ => key(path),
        };
        let mut hash = keccak256(bytes);
        if self.behaviour == "other-thing" {
            hash = keccak256(hash);
        }
        let (signature, recovery) = key.sign_prehash_recoverable(hash.as_slice());
        let parity = first + u8::from(recovery.is_y_odd());
        answer(&[&[parity], &signature.to_bytes()[..]].concat())
    }

    /// The public key and the address in digits.
    fn address(&self, path: &[u8]) -> Vec<u8> {
        if self.behaviour == "nonsense" {
            return answer(&[65, 4]);
        }
        let key = key(path);
        let point = key.verifying_key().to_sec1_point(false);
        let address = address_of(key.verifying_key()).to_checksum(None);
        let digits = &address.as_bytes()[2..];
        answer(&[&[65], point.as_bytes(), &[40], digits].concat())
    }
}

/// Instead of BIP 32: the key of account `n` in `m/44'/60'/n'/0/0` is made of bytes 0x11 + n.
fn key(path: &[u8]) -> SigningKey {
    let (count, steps) = path.split_first().unwrap();
    assert_eq!((*count, steps.len()), (5, 20), "{path:?}");
    let step = |index: usize| u32::from_be_bytes(steps[4 * index..4 * index + 4].try_into().unwrap());
    let hard = |number: u32| number + (1 << 31);
    assert_eq!((step(0), step(1)), (hard(44), hard(60)), "{path:?}");
    let account = u8::try_from(step(2) - hard(0)).unwrap();
    SigningKey::from_slice(&[0x11 + account; 32]).unwrap()
}

fn address_of(key: &VerifyingKey) -> Address {
    Address::from_raw_public_key(&key.to_sec1_point(false).as_bytes()[1..])
}

/// The path, and what is behind it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(1 + 4 * usize::from(data[0]))
}

/// How long an RLP list is, with its header; none: its header is not there yet.
fn list_bytes(rlp: &[u8]) -> Option<usize> {
    let first = usize::from(*rlp.first()?);
    if first < 0xf8 {
        return Some(1 + first - 0xc0);
    }
    let digits = rlp.get(1..1 + first - 0xf7)?;
    let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
    Some(1 + digits.len() + length)
}

fn answer(data: &[u8]) -> Vec<u8> {
    [data, &OK.to_be_bytes()[..]].concat()
}

/// Commands that real devices were sent, and what they answered, as Ledger's own client (@ledgerhq/hw-app-eth 7.9.0) keeps
/// them for its tests.
#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use k256::ecdsa::{RecoveryId, Signature};

    fn app() -> App {
        App::new("")
    }

    #[test]
    fn an_address_is_told_as_real_devices_tell_it() {
        let asked = hex!("e002000015058000002c8000003c800000008000000000000000");
        let real = hex!(
            "4104df00ad3869baad7ce54f4d560ba7f268d542df8f2679a5898d78a690c3db8f9833d2973671cb14b088e91bdf7c0ab00029a576473c0e12f84d252e630bb3809b28436241393833363265313939633431453138363444303932334146393634366433413634383435319000"
        );
        let ours = app().exchange(&asked);
        let shape = |told: &[u8]| {
            let address = Address::from_raw_public_key(&told[2..66]);
            assert_eq!(&told[67..107], &address.to_checksum(None).as_bytes()[2..]);
            (told.len(), told[0], told[1], told[66], told[107..].to_vec())
        };
        assert_eq!(shape(&ours), shape(&real));
    }

    #[test]
    fn a_transaction_and_typed_data_are_understood_as_real_devices_understand_them() {
        let transaction = hex!(
            "e004000046058000002c8000003c80000000000000000000000002ef0306843b9aca008504a817c80082520894b2bb2b958afa2e96dab3f3ce7162b87daea39017872386f26fc1000080c0"
        );
        let real = hex!(
            "003ccff815955e82c416dcf2ace0bf0aa5f479acd47f5152f0c1753cf68fb723746774b8bff4f776f2788bb19c87c22ca8a2933ea4415eed8d25a9ea0500c81ce19000"
        );
        let ours = app().exchange(&transaction);
        assert_eq!((ours.len(), ours[0] < 2, &ours[65..]), (real.len(), real[0] < 2, &real[65..]));
        assert_eq!(by(&ours, &transaction[26..]), Some(own()));
        let typed = hex!(
            "e00c000055058000002c8000003c800000008000000000000000c24f499b8c957196651b13edd64aaccc3980009674b2aea0966c8a56ba81278e9d96be8a7cca396e711a3ba356bd9878df02a726d753ddb6cda3c507d888bc77"
        );
        let real = hex!(
            "1c47937d12e45197f2f4c47fe34e88944ee10c8e9ee1faf7aa4658f5aab8e0d2bb026c0d81290478fbc45d5bc1308c4b7119ab43d986805413e7f85da5d94597e79000"
        );
        let hashed = [&[0x19, 1], &typed[26..]].concat();
        let ours = app().exchange(&typed);
        assert_eq!((ours.len(), ours[0] >= 27, &ours[65..]), (real.len(), real[0] >= 27, &real[65..]));
        assert_eq!(by(&ours, &hashed), Some(own()));
    }

    fn own() -> Address {
        address_of(SigningKey::from_slice(&[0x11; 32]).unwrap().verifying_key())
    }

    fn by(answer: &[u8], signed: &[u8]) -> Option<Address> {
        let recovery = RecoveryId::new(answer[0] % 27 == 1, false);
        let signature = Signature::from_slice(&answer[1..65]).ok()?;
        let hash = keccak256(signed);
        let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &signature, recovery);
        key.ok().map(|key| address_of(&key))
    }

    #[test]
    fn a_long_transaction_is_signed_once_all_of_it_is_there() {
        let path = hex!("058000002c8000003c800000000000000000000000");
        let body = vec![7; 300];
        let tx = [&[2, 0xf9, 1, 44][..], &body].concat();
        let whole = [&path[..], &tx].concat();
        let (mut app, mut answers) = (app(), Vec::new());
        for (number, chunk) in whole.chunks(255).enumerate() {
            let more = if number == 0 { 0 } else { 0x80 };
            let header = [0xe0, 4, more, 0, u8::try_from(chunk.len()).unwrap()];
            answers.push(app.exchange(&[&header[..], chunk].concat()));
        }
        assert_eq!(answers[0], OK.to_be_bytes());
        assert_eq!(by(&answers[1], &tx), Some(own()));
    }
}
