//! Questions that change nothing.

use super::{read, script::Script, world::SENDER};
use crate::bytes::Bytes;
use alloy::{
    primitives::{Address, B256, bytes},
    sol_types::SolCall as _,
};
use hub_chain::{CallRequest, LogQuery, embedded::DEV_ACCOUNTS};
use protocol_spec::abi::IAdjudicator;
use serde_json::json;

impl Script {
    pub(super) async fn read(&mut self, operation: u8, bytes: &mut Bytes<'_>) {
        let (which, value) = (bytes.byte(), bytes.byte());
        let number = u64::from(value % 16);
        let (stage, chain) = (&self.stage, self.chain.as_ref());
        let world = &stage.world;
        let address =
            [world.adjudicator, DEV_ACCOUNTS[SENDER].address, Address::ZERO][usize::from(which % 3)];
        match operation {
            0 => {
                let got = chain.head().await;
                stage.check(|case| case.block(None, got.map(Some)));
            }
            1 => {
                let got = chain.block(number).await;
                stage.check(|case| case.block(Some(number), got));
            }
            2 => {
                let got = chain.genesis_hash().await;
                stage.check(|case| case.genesis(got));
            }
            3 => {
                let params = json!([address, "latest"]);
                let got = chain.code_hash(address).await;
                stage.check(|case| case.code(&params, got));
            }
            4 | 5 => {
                let query = LogQuery {
                    address,
                    from: number.min(u64::from(which >> 4)),
                    to: number.max(u64::from(which >> 4)),
                };
                let got = chain.logs(query).await;
                stage.check(|case| case.logs(query, got));
            }
            6 => {
                let request = self.call(which, value);
                let input = request.data.clone();
                let params = match request.creation {
                    true => json!([{"input": input}, "latest"]),
                    false => json!([{"to": request.to, "input": input}, "latest"]),
                };
                let got = chain.call(request).await;
                stage.check(|case| case.value("eth_call", &params, got, read::bytes));
            }
            7 => {
                let params = json!([address, "latest"]);
                let got = chain.balance(address).await;
                stage.check(|case| case.value("eth_getBalance", &params, got, read::quantity));
            }
            8 => {
                let got = chain.gas_price().await;
                stage.check(|case| case.gas_price(got));
            }
            9 => {
                let hash = self.hash(which);
                let got = chain.receipt(hash).await;
                stage.check(|case| case.receipt(hash, got));
            }
            10 => {
                let got = self.follow.poll(chain).await;
                stage.check(|case| self.follow.took(case, got));
            }
            _ => {
                let got = self.follow.unconfirmed(chain).await;
                stage.check(|case| self.follow.took_unconfirmed(case, got));
            }
        }
    }

    fn call(&self, which: u8, value: u8) -> CallRequest {
        let config = &self.stage.world.configs[usize::from(value) % self.stage.world.configs.len()];
        let channel = IAdjudicator::channelCall {
            channelId: B256::repeat_byte(value),
        };
        let data = match which % 4 {
            0 => IAdjudicator::domainSeparatorCall {}.abi_encode().into(),
            1 => channel.abi_encode().into(),
            2 => IAdjudicator::finalAtCall {
                config: config.to_abi(),
            }
            .abi_encode()
            .into(),
            // Creation code that returns 32 bytes.
            _ => bytes!("60205ff3"),
        };
        CallRequest {
            to: self.stage.world.adjudicator,
            data,
            creation: which % 4 == 3,
            ..CallRequest::default()
        }
    }

    pub(super) fn hash(&self, which: u8) -> B256 {
        let all = [
            &self.stage.world.txs[..],
            &self.sends.sent[..],
            &[B256::repeat_byte(9)],
        ]
        .concat();
        all[usize::from(which) % all.len()]
    }
}
