//! `connect`: loads the store, starts the task, waits for the hub. Only a store that knows no hub needs it to start.

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
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, timeout},
};

const COMMANDS: usize = 1024;
const EVENTS: usize = 1024;

pub(crate) fn start(
    options: Options,
    signer: Arc<dyn VoucherSigner>,
    store: Arc<dyn Store>,
) -> BoxFuture<'static, Result<Client, ConnectError>> {
    Box::pin(async move {
        let mut redial = Dial {
            url: options.url.clone(),
            encoding: options.encoding,
            pin: options.pin.clone(),
            server: options.server.clone(),
            signer: CheckedSigner::new(signer.clone(), options.sign_timeout),
            timeout: options.connect_timeout,
            network: options.ports.network.clone(),
            tls: tls::connector(&options.url, &options.root_certificates)?,
        };
        let (hub, link) = match rows::hub(store.as_ref()).await? {
            // A pin given to the builder must not hide that the store belongs to another hub.
            Some(info) => {
                let hub = Hub::check(info, options.pin.as_ref(), options.server.as_deref())?;
                (hub, None)
            }
            None => {
                let link = dial_until(&redial, &options).await?;
                store.commit(vec![rows::put_hub(&link.hub.info)]).await?;
                (link.hub.clone(), Some(link))
            }
        };
        redial.pin = Some(hub.pin.clone());
        let chain = chain(&options, &hub, signer.as_ref()).await?;
        let owners = owners(&options, signer.clone());
        let owner = owners.first().map_or(signer.address(), |owner| owner.address());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel::<ClientEvent>(EVENTS);
        let (met, meeting) = oneshot::channel();
        let board = Arc::new(Board::default());
        let actor = Actor::load(Setup {
            options: options.clone(),
            store,
            chain: chain.clone(),
            owners,
            signer: link.as_ref().map_or(&redial.signer, |link| &link.signer).clone(),
            redial,
            inbox,
            publish: Publisher::of(board.clone()),
            events: events.clone(),
            hub: hub.clone(),
            link,
            met,
        })
        .await?;
        tokio::spawn(actor.run());
        let client = Client::of(Inner {
            signer: signer.address(),
            owner,
            options,
            commands,
            board,
            events,
            chain,
            hub,
        });
        met_or_not(client, meeting).await
    })
}

/// Waits for the hub. Without it a client is started only to look after the channels that it has, and to tell what became of
/// those that are closed.
async fn met_or_not(
    client: Client,
    meeting: oneshot::Receiver<Result<(), ConnectError>>,
) -> Result<Client, ConnectError> {
    let met = timeout(client.inner.options.connect_timeout, meeting).await;
    let away = || {
        let known = client.unreachable();
        known.unwrap_or_else(|| ConnectError::Unreachable("no answer in time".to_owned()))
    };
    // An answer that never comes: the task has ended, and says why to whoever asks it.
    let met = met.unwrap_or_else(|_| Ok(Err(away()))).unwrap_or(Ok(()));
    match met {
        Err(error) if matches!(error, ConnectError::Options(_)) || client.channels().is_empty() => {
            client.shutdown().await;
            Err(error)
        }
        Err(error) => {
            tracing::warn!(%error, "no hub: the channels in the store are looked after without it");
            Ok(client)
        }
        Ok(()) => Ok(client),
    }
}

/// Who can sign `Register` for an owner account; the first one owns the channels that are opened.
fn owners(options: &Options, signer: Arc<dyn VoucherSigner>) -> Vec<CheckedSigner> {
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
        .map(|signer| CheckedSigner::new(signer, options.sign_timeout))
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
        agree: options.agree,
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
