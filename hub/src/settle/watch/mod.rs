//! `settle watch`: a watchtower. It guards channels of others with a key that can do nothing but show their vouchers.

mod again;
mod door;
mod event;
mod folder;
mod late;
mod reverted;
mod send;
mod told;
mod tower;
mod trust;
mod watchtower;

use super::{
    Exit, Node, SettleError,
    args::{Format, WatchArgs},
    output::Output,
    run_send::signer,
};
pub use event::Event;
use event::Voice;
use protocol_spec::{Room, limits};
use serde_json::json;
use std::time::Duration;
pub use tower::Looked;
use tower::Tower;
pub use watchtower::{WatchOptions, Watchtower};

/// Rounds of one `--once`: what one round sends may make another due, and so do locks that do not fit one transaction.
const ROUNDS_MAX: u64 =
    4 + Room::transactions(limits::LOCKS_FROM_HUB_MAX as u64 * limits::RESOLVER_LOCK_WEIGHT);

/// Watches until a signal, or looks once.
pub(super) async fn run(args: &WatchArgs, format: Format) -> Result<Output, SettleError> {
    let signer = signer(&args.key, false).await?.ok_or_else(|| {
        SettleError::Usage(
            "the watchtower's key is needed: --key-file PATH, --key-env NAME or --signer SIGNER".to_owned(),
        )
    })?;
    let (key, voice) = (signer.address(), Voice::Console(format));
    Event::new("watching", format!("with the key of {key}: packages are for it"))
        .with("address", json!(key))
        .emit(&voice);
    let node = Node::open(&args.node).await?;
    let options = WatchOptions::from(args);
    let mut watchtower = Watchtower::with(&options, &signer, node, voice.clone())?;
    if let Some(address) = args.listen {
        let bound = door::listen(address, watchtower.desk()).await?;
        Event::new(
            "listening",
            format!("packages for {key} are taken at http://{bound}/packages"),
        )
        .with("address", json!(bound.to_string()))
        .emit(&voice);
    }
    let tower = watchtower.tower();
    match args.once {
        true => once(tower).await,
        false => watch(tower, options.every).await,
    }
}

async fn once(tower: &mut Tower) -> Result<Output, SettleError> {
    let mut all = Looked::default();
    for _ in 0..ROUNDS_MAX {
        let looked = tower.look().await?;
        all.add(&looked);
        if looked.sent == 0 {
            break;
        }
        if let Err(error) = tower.finish().await {
            Event::new("unreachable", error.to_string()).emit(tower.voice());
            all.unreachable = true;
            break;
        }
    }
    Ok(output(&all))
}

fn output(all: &Looked) -> Output {
    let exit = match () {
        () if all.too_late > 0 => Exit::TooLate,
        () if all.unreachable || all.stale => Exit::Unreachable,
        () if all.cannot > 0 || all.faults > 0 => Exit::Refused,
        () => Exit::Done,
    };
    let text = format!(
        "{} channels guarded, {} disputed, {} transactions sent, {} failed, {} too late, {} files unusable",
        all.guarded, all.disputed, all.sent, all.cannot, all.too_late, all.faults
    );
    let json = json!({
        "command": "watch", "exit": exit.word(), "guarded": all.guarded, "disputed": all.disputed, "sent": all.sent,
        "cannot": all.cannot, "too_late": all.too_late, "files_unusable": all.faults, "unreachable": all.unreachable, "stale": all.stale,
    });
    Output { exit, text, json }
}

async fn watch(tower: &mut Tower, every: Duration) -> Result<Output, SettleError> {
    let mut ended = std::pin::pin!(ended());
    let mut last = Looked::default();
    loop {
        // A look is never cut: what was written down is also sent.
        let looked = tower.look().await?;
        last.add(&looked);
        tokio::select! {
            () = &mut ended => break,
            () = tokio::time::sleep(every) => {}
        }
    }
    let mut output = output(&last);
    output.exit = Exit::Done;
    Ok(output)
}

/// When the process is asked to end.
#[cfg(unix)]
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

/// When the process is asked to end.
#[cfg(not(unix))]
async fn ended() {
    let _ = tokio::signal::ctrl_c().await;
}
