//! Evidence files: what `settle` needs to leave with the hub gone.

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
        opening: channel.sent().locks.opening(),
        preimages: Vec::new(),
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
    }
}

/// Writes an evidence file, readable by its owner only; an older one is replaced in one step. Blocks.
pub fn save(evidence: &Evidence, path: &Path) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(evidence)?;
    let temporary = path.with_extension("json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
