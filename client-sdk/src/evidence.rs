//! Evidence files: what `settle` needs to leave with the hub gone.

use crate::{Store, StoreError, store::rows};
use protocol_spec::{Channel, DirectionEvidence, Domain, Evidence, Side, SignedVoucher};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The client's evidence of `channel`; `own` is its newest own voucher, for information.
pub(crate) fn of(channel: &Channel, domain: &Domain, own: Option<SignedVoucher>) -> Evidence {
    let funds = channel.funds();
    let received = DirectionEvidence::received_by(channel);
    let sent = DirectionEvidence {
        voucher: own,
        locks: channel.sent().locks.iter().cloned().collect(),
        opening: channel.sent().opening.as_deref().copied(),
        witnesses: Vec::new(),
    };
    Evidence {
        format: Evidence::FORMAT.to_owned(),
        chain_id: domain.chain_id,
        adjudicator: domain.adjudicator,
        config: channel.config().clone(),
        side: Side::Client,
        received,
        sent,
        deposits: (funds.client_deposit, funds.hub_deposit),
        never_locked: channel.sent().newest_lock == 0,
    }
}

/// The evidence of every channel in `store`, with the hub gone and without a connection: what `settle` needs to leave.
/// The store must not be in use by a client. Own vouchers are left out; they prove nothing for their signer.
///
/// Errors: the store cannot be read, or never met a hub.
pub async fn from_store(store: &dyn Store) -> Result<Vec<Evidence>, StoreError> {
    let Some(hub) = rows::hub(store).await? else {
        return Ok(Vec::new());
    };
    let domain = Domain::new(hub.chain_id, hub.adjudicator);
    let channels = rows::channels(store).await?;
    Ok(channels
        .iter()
        .map(|stored| of(&stored.channel, &domain, None))
        .collect())
}

/// Writes an evidence file, readable by its owner only; an older one is replaced in one step. Blocks.
pub fn save(evidence: &Evidence, path: &Path) -> io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(evidence)?, 0o600)
}

/// Writes `path` in one step: whoever reads it, also after a power failure, sees the old or the new content, whole. Blocks.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}
