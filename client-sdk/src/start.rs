//! `connect`: loads the store, dials, checks the hub, starts the task.

use crate::{
    Client, ClientEvent, ConnectError, Store, VoucherSigner,
    actor::{Actor, Setup},
    board::{Board, Publisher},
    chain::{ChainAccess, ChainParams},
    client::Inner,
    link::{Dial, Link, dial},
    options::Options,
    pin::Hub,
    signer::CheckedSigner,
    store::rows,
    tls,
};
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};

const COMMANDS: usize = 1024;
const EVENTS: usize = 1024;

pub(crate) fn start(
    options: Options,
    signer: Arc<dyn VoucherSigner>,
    store: Arc<dyn Store>,
) -> BoxFuture<'static, Result<Client, ConnectError>> {
    Box::pin(async move {
        let stored = rows::pin(store.as_ref()).await?;
        let mut redial = Dial {
            url: options.url.clone(),
            encoding: options.encoding,
            pin: options.pin.clone().or_else(|| stored.clone()),
            server: options.server.clone(),
            signer: CheckedSigner::new(signer.clone(), options.sign_timeout),
            timeout: options.connect_timeout,
            network: options.ports.network.clone(),
            tls: tls::connector(&options.url, &options.root_certificates)?,
        };
        let link = dial_until(&redial, &options).await?;
        match &stored {
            // A pin given to the builder must not hide that the store belongs to another hub.
            Some(stored) => drop(Hub::check(link.hub.info.clone(), Some(stored), None)?),
            None => store.commit(vec![rows::put_pin(&link.hub.pin)]).await?,
        }
        redial.pin = Some(link.hub.pin.clone());
        redial.signer = link.signer.clone();
        let chain = chain(&options, &link.hub, signer.as_ref()).await?;
        let owners = owners(&options, signer.clone());
        let owner = owners.first().map_or(signer.address(), |owner| owner.address());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel::<ClientEvent>(EVENTS);
        let board = Arc::new(Board::default());
        let hub = link.hub.clone();
        let actor = Actor::load(Setup {
            options: options.clone(),
            store,
            chain: chain.clone(),
            owners,
            redial,
            inbox,
            publish: Publisher::of(board.clone()),
            events: events.clone(),
            link,
        })
        .await?;
        tokio::spawn(actor.run());
        Ok(Client::of(Inner {
            signer: signer.address(),
            owner,
            options,
            commands,
            board,
            events,
            chain,
            hub,
        }))
    })
}

/// Who can sign `Register` for an owner account; the first one owns the channels that are opened.
fn owners(options: &Options, signer: Arc<dyn VoucherSigner>) -> Vec<Arc<dyn VoucherSigner>> {
    let sender = options
        .sender
        .clone()
        .map(|key| Arc::new(key) as Arc<dyn VoucherSigner>);
    options
        .owner
        .clone()
        .into_iter()
        .chain(sender)
        .chain([signer])
        .collect()
}

async fn chain(
    options: &Options,
    hub: &Hub,
    signer: &dyn VoucherSigner,
) -> Result<Option<ChainAccess>, ConnectError> {
    if options.rpcs.is_empty() {
        return Ok(None);
    }
    let params = ChainParams {
        rpcs: options.rpcs.clone(),
        sender: options.sender.clone().or_else(|| signer.local_key()),
        chain_id: hub.pin.chain_id,
        adjudicator: hub.pin.adjudicator,
        confirmations: options.confirmations.unwrap_or(hub.info.confirmations),
        poll: options.chain_poll,
        timeout: options.chain_timeout,
    };
    Ok(Some(ChainAccess::connect(params).await?))
}

async fn dial_until(parameters: &Dial, options: &Options) -> Result<Link, ConnectError> {
    let start = Instant::now();
    loop {
        let left = options.connect_timeout.saturating_sub(start.elapsed());
        let attempt = Dial {
            timeout: left,
            ..parameters.clone()
        };
        match dial(attempt).await {
            Err(ConnectError::Unreachable(_)) if left > options.reconnect_min => {
                tokio::time::sleep(options.reconnect_min).await;
            }
            other => return other,
        }
    }
}
