//! A Ledger made of software, where crate `hidapi-rusb` reaches real ones: packets of 64 bytes in and out.
//!
//! Everything above is what drives a real device. How it behaves says the variable `CHANNELHUB_LEDGER`.

mod app;

use app::App;
use std::{collections::VecDeque, sync::Mutex};

const LEDGER: u16 = 0x2c97;
const PACKET_BYTES: usize = 64;
/// Channel, tag and number of a packet; the first also says how long the whole is.
const HEADER_BYTES: usize = 5;

/// What the real one may say.
#[derive(Debug)]
pub struct HidError(String);

impl std::fmt::Display for HidError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HidError {}

/// The bus.
pub struct HidApi {
    devices: Vec<DeviceInfo>,
}

impl HidApi {
    /// With one device, or none (`CHANNELHUB_LEDGER=absent`).
    pub fn new() -> Result<Self, HidError> {
        let behaviour = std::env::var("CHANNELHUB_LEDGER").unwrap_or_default();
        let devices = match behaviour.as_str() {
            "absent" => Vec::new(),
            _ => vec![DeviceInfo { behaviour }],
        };
        Ok(Self { devices })
    }

    /// What is connected.
    pub fn device_list(&self) -> impl Iterator<Item = &DeviceInfo> {
        self.devices.iter()
    }
}

/// What is connected.
pub struct DeviceInfo {
    behaviour: String,
}

impl DeviceInfo {
    /// Ledger's.
    pub fn vendor_id(&self) -> u16 {
        LEDGER
    }

    /// As on other systems.
    pub fn usage_page(&self) -> u16 {
        0xffa0
    }

    /// Opens it.
    pub fn open_device(&self, _: &HidApi) -> Result<HidDevice, HidError> {
        match self.behaviour.as_str() {
            "busy" => Err(HidError("used by another program".to_owned())),
            behaviour => Ok(HidDevice {
                wire: Mutex::new(Wire {
                    app: App::new(behaviour),
                    asked: Vec::new(),
                    answers: VecDeque::new(),
                }),
            }),
        }
    }
}

/// An open device.
pub struct HidDevice {
    wire: Mutex<Wire>,
}

struct Wire {
    app: App,
    /// What came of a command, with its length in front.
    asked: Vec<u8>,
    answers: VecDeque<[u8; PACKET_BYTES]>,
}

impl HidDevice {
    /// Reads wait anyway.
    pub fn set_blocking_mode(&self, _: bool) -> Result<(), HidError> {
        Ok(())
    }

    /// Nobody asks.
    pub fn get_manufacturer_string(&self) -> Result<Option<String>, HidError> {
        Ok(Some("software".to_owned()))
    }

    /// One packet, behind a zero.
    pub fn write(&self, data: &[u8]) -> Result<usize, HidError> {
        assert_eq!((data.len(), &data[..4]), (PACKET_BYTES + 1, &[0, 1, 1, 5][..]));
        let wire = &mut *self.wire.lock().unwrap();
        wire.asked.extend(&data[1 + HEADER_BYTES..]);
        let length = usize::from(u16::from_be_bytes([wire.asked[0], wire.asked[1]]));
        if wire.asked.len() >= length + 2 {
            let answer = wire.app.exchange(&wire.asked[2..length + 2]);
            wire.asked.clear();
            wire.answers.extend(packets(&answer));
        }
        Ok(data.len())
    }

    /// The next packet.
    pub fn read_timeout(&self, buffer: &mut [u8], _: i32) -> Result<usize, HidError> {
        loop {
            if let Some(packet) = self.wire.lock().unwrap().answers.pop_front() {
                buffer.copy_from_slice(&packet);
                return Ok(PACKET_BYTES);
            }
            std::thread::park();
        }
    }
}

/// An answer in packets; none: nobody has pressed a button yet.
fn packets(answer: &[u8]) -> Vec<[u8; PACKET_BYTES]> {
    if answer.is_empty() {
        return Vec::new();
    }
    let whole = [&u16::try_from(answer.len()).unwrap().to_be_bytes()[..], answer].concat();
    let chunks = whole.chunks(PACKET_BYTES - HEADER_BYTES).enumerate();
    chunks
        .map(|(number, chunk)| {
            let mut packet = [0; PACKET_BYTES];
            packet[..3].copy_from_slice(&[1, 1, 5]);
            packet[3..HEADER_BYTES].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
            packet[HEADER_BYTES..HEADER_BYTES + chunk.len()].copy_from_slice(chunk);
            packet
        })
        .collect()
}
