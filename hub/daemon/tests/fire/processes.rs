//! Signals, limits, a second process, a storm.

use super::{
    files,
    process::Hub,
    range::{Range, obedient},
    raw::{Session, upgraded},
    world::World,
};
use protocol_spec::SignerKey;
use rustix::process::Signal;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// What `session::limits` promises for SIGTERM, and a second for a busy machine.
const TERM_MAX: Duration = Duration::from_secs(6);
const STORM_MAX: Duration = Duration::from_secs(60);

/// C8: the second one ends, the first goes on.
pub(crate) async fn second_hub(range: &mut Range) -> String {
    let mut second = Hub::spawn(&range.world);
    let status = second
        .ended(Duration::from_secs(15))
        .await
        .expect("the second ends");
    assert!(!status.success());
    format!("the second ended with {}", status.code().unwrap_or(-1))
}

/// D1: nothing moves for a while.
pub(crate) async fn stopped(range: &mut Range) -> String {
    let seconds = range.size(3, 30) as u64;
    range.hub.signal(Signal::STOP);
    let before = range.log.counts().acked;
    sleep(Duration::from_secs(seconds)).await;
    let meanwhile = range.log.counts().acked - before;
    range.hub.signal(Signal::CONT);
    let began = Instant::now();
    range
        .log
        .wait(|counts| counts.failed > 0 || counts.acked > before + meanwhile)
        .await;
    format!(
        "stopped for {seconds} s; the first acknowledgement {:.0} ms after",
        began.elapsed().as_secs_f64() * 1e3
    )
}

/// H1: more sockets than descriptors; those who are in go on.
pub(crate) async fn few_descriptors(range: &mut Range) -> String {
    range.hub.kill();
    let mut command = files::hub_with(256);
    range.orders.load_into(&mut command);
    range.again_with(command).await;
    let before = range.log.counts().acked;
    range
        .log
        .wait(|counts| counts.failed > 0 || counts.acked > before + 50)
        .await;
    let count = range.size(300, 2_000);
    let mut open = Vec::new();
    for _ in 0..count {
        let opening = upgraded(range.world.listen);
        if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(20), opening).await {
            open.push(stream);
        }
    }
    let before = range.log.counts().acked;
    sleep(Duration::from_secs(2)).await;
    let (acked, served) = (range.log.counts().acked - before, open.len());
    assert!(acked > 0, "those who are in are served");
    let used = range.descriptors();
    drop(open);
    range.hub.kill();
    range.again().await;
    format!(
        "{count} sockets beside the people, {served} of them served, {used} descriptors used; {acked} payments in 2 s"
    )
}

/// H5: it ends in time, and cleanly.
pub(crate) async fn terminated(range: &mut Range) -> String {
    let began = Instant::now();
    range.hub.signal(Signal::TERM);
    let status = range.hub.ended(TERM_MAX).await.expect("it ends in time");
    let took = began.elapsed();
    assert!(status.success(), "{status}");
    let ready = range.again().await;
    format!(
        "ended after {:.1} s; ready again {:.1} s after the start",
        took.as_secs_f64(),
        ready.as_secs_f64()
    )
}

/// B9: a kill, and then everybody logs in at once, again and again until it is done.
pub(crate) async fn storm(range: &mut Range) -> String {
    let (count, hub) = (range.size(500, 5_000), range.world.listen);
    range.hub.kill();
    let began = Instant::now();
    let comers: Vec<_> = (0..count)
        .map(|_| {
            tokio::spawn(async move {
                let key = SignerKey::from_bytes(&rand::random()).unwrap();
                let mut tries = 0_u64;
                while began.elapsed() < STORM_MAX {
                    tries += 1;
                    if let Ok(mut session) = Session::connect(hub).await
                        && session.log_in(&key, &key).await.is_ok()
                    {
                        return (Some(began.elapsed()), tries);
                    }
                    sleep(Duration::from_millis(rand::random_range(50..150))).await;
                }
                (None, tries)
            })
        })
        .collect();
    let start = began.elapsed();
    let ready = range.again_with(obedient(&range.orders)).await + start;
    let (mut last, mut tries) = (Duration::ZERO, 0);
    for comer in comers {
        let (done, times) = comer.await.unwrap();
        last = last.max(done.expect("everybody gets in"));
        tries += times;
    }
    format!(
        "{count} logins, {tries} tries; ready {:.1} s after the kill, the last one in {:.1} s after that",
        ready.as_secs_f64(),
        last.saturating_sub(ready).as_secs_f64()
    )
}

/// G3: no log and no database contains a key, in any of the usual spellings.
pub(crate) fn keys_in_logs(world: &World) -> String {
    let mut needles = Vec::new();
    for entry in std::fs::read_dir(world.hub_dir.join("keys")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let key = hex::decode(text.trim().trim_start_matches("0x")).unwrap();
        let whole = hex::encode(&key);
        needles.extend([key, whole.to_uppercase().into_bytes(), whole.into_bytes()]);
    }
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut look = |path: &Path| {
        let contents = std::fs::read(path).unwrap();
        files += 1;
        bytes += contents.len() as u64;
        for needle in &needles {
            let found = contents.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "a key is in {}", path.display());
        }
    };
    look(&world.dir.join("hub.log"));
    for entry in std::fs::read_dir(&world.store).unwrap() {
        look(&entry.unwrap().path());
    }
    assert!(bytes > 0 && needles.len() >= 6, "there was something to find");
    format!(
        "{files} files of {bytes} bytes hold none of {} spellings of the keys",
        needles.len()
    )
}
