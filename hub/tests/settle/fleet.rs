//! Many channels of one hub, each with a client of its own: 10 deposited by the client, 200 reserved by the hub.

use crate::{
    cli::{Output, settle, write},
    vouchers::{CLIENT, HUB, Parties, key},
    world::{Erc20, World},
};
use alloy::primitives::{U256, hex};
use protocol_spec::{Digest, Evidence, abi, abi::IAdjudicator, calls};

pub(crate) const DEPOSIT: u128 = 10;
pub(crate) const RESERVE: u128 = 200;

pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) channels: Vec<Channel>,
}

pub(crate) struct Channel {
    /// Of the client's account; its signer's is the next but 50.
    pub(crate) seed: u8,
    pub(crate) parties: Parties,
}

/// Seeds of accounts from here, of their signers 50 above.
const FIRST: u8 = 0x60;

impl Fleet {
    /// Opens `count` channels, and funds their signers' keys with coins.
    pub(crate) async fn open(world: World, count: u8) -> Self {
        Self::reserved(world, count, RESERVE).await
    }

    /// The same; the hub reserves `reserve` for each.
    pub(crate) async fn reserved(world: World, count: u8, reserve: u128) -> Self {
        let p = &world.parties;
        let (to, token) = (p.domain.adjudicator, p.config.token);
        let native = token.is_zero();
        let channels: Vec<_> = (0..count).map(|number| channel(p, FIRST + number)).collect();
        let deposits = DEPOSIT * u128::from(count);
        let reserves = reserve * u128::from(count);
        for (seed, amount) in [(CLIENT, deposits), (HUB, reserves)] {
            if native {
                continue;
            }
            let (account, amount) = (key(seed).address(), U256::from(amount));
            let mint = Erc20::mintCall { to: account, amount };
            world.call(seed, token, 0, &mint).await;
            let approve = Erc20::approveCall { spender: to, amount };
            world.call(seed, token, 0, &approve).await;
        }
        let value = |amount| if native { amount } else { 0 };
        let fund = IAdjudicator::fundVaultCall {
            hub: p.config.hub,
            token,
            amount: U256::from(reserves),
        };
        world.call(HUB, to, value(reserves), &fund).await;
        for channel in &channels {
            let open = calls::open(&channel.parties.config, DEPOSIT);
            world.call(CLIENT, to, value(DEPOSIT), &open).await;
            world.fund(key(channel.seed + 50).address()).await;
        }
        let items = channels.iter().map(|channel| {
            let config = channel.parties.config.to_abi();
            abi::ClientReserve {
                client: config.client,
                clientSigner: config.clientSigner,
                salt: config.salt,
                amount: reserve,
            }
        });
        let call = IAdjudicator::reserveCall {
            side: calls::hub_side(&p.config),
            items: items.collect(),
        };
        world.call(HUB, to, 0, &call).await;
        Self { world, channels }
    }

    /// Writes the evidence of each channel into `dir`, by number.
    pub(crate) fn write(&self, dir: &str, evidence: impl Fn(usize, &Channel) -> Evidence) {
        self.world.subdirectory(dir);
        for (number, channel) in self.channels.iter().enumerate() {
            let evidence = evidence(number, channel);
            self.world.named(&format!("{dir}/{number:02}.json"), &evidence);
        }
    }

    /// A directory with the keys of the signers of these channels.
    pub(crate) fn keys(&self, dir: &str, channels: &[usize]) -> String {
        let path = self.world.subdirectory(dir);
        for number in channels {
            let text = hex::encode(key(self.channels[*number].seed + 50).to_bytes());
            write(&path, &format!("{number:02}.key"), &text);
        }
        path.display().to_string()
    }

    /// `settle batch VERB --dir DIR --rpc-url URL ARGS`.
    pub(crate) fn batch(&self, verb: &str, dir: &str, args: &[&str]) -> Output {
        settle(
            &self
                .arguments(verb, dir, args)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    pub(crate) fn arguments(&self, verb: &str, dir: &str, args: &[&str]) -> Vec<String> {
        let dir = self.world.dir.path().join(dir).display().to_string();
        let base = ["batch", verb, "--dir", &dir, "--rpc-url", &self.world.url];
        [&base, args].concat().into_iter().map(str::to_owned).collect()
    }

    /// Transactions of the signers of these channels.
    pub(crate) async fn sent(&self) -> u64 {
        let mut sent = 0;
        for channel in &self.channels {
            sent += self.world.nonce(key(channel.seed + 50).address()).await;
        }
        sent
    }
}

fn channel(world: &Parties, seed: u8) -> Channel {
    let mut parties = Parties::new(
        world.domain.chain_id,
        world.domain.adjudicator,
        world.config.token,
    );
    parties.config.client = key(seed).address();
    parties.config.client_signer = key(seed + 50).address();
    parties.config.salt = Digest([seed; 32]);
    Channel { seed, parties }
}
