//! More sockets than the hub may have files, which say nothing and stay: it answers a dispute all the same, through a node that
//! hangs up, so that each look at the chain needs a file of its own.

use crate::{
    court::{Case, closed, dispute, pass, purse, until},
    files::{self, UPGRADE},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::{CHALLENGE_PERIOD_S, World},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

const RECEIVED: u128 = 100_000;
const PAID: u128 = 20_000;
/// What the hub may have; sockets that besiege each of its two doors.
const FILES: usize = 256;
const BESIEGERS: usize = 600;
/// Of this process.
const OWN_FILES: u64 = 4_096;
pub(crate) async fn dispute_is_answered(world: &World, cases: &mut Vec<Case>) {
    files::raise(OWN_FILES);
    let config = std::fs::read_to_string(&world.config).unwrap();
    let curt = curt_node(&world.rpc_url).await;
    std::fs::write(&world.config, config.replace(&world.rpc_url, &curt)).unwrap();
    let mut hub = Hub::spawn_with(world, files::hub_with(FILES));
    hub.ready();
    let shop = Person::arrive(world, "siege-shop", world.listen).await;
    let cheat = Person::arrive(world, "siege-cheat", world.listen).await;
    shop.pay(&cheat, RECEIVED).await;
    cheat.pay(&shop, PAID).await;
    let stale = cheat.channel.evidence().await.unwrap();
    cheat.pay(&shop, PAID).await;
    let sieges = [
        (world.ops, "GET /me"),
        (world.listen, UPGRADE),
        (world.listen, ""),
    ];
    let sieges = sieges.map(|(door, words)| tokio::spawn(besiege(door, words)));
    sleep(Duration::from_secs(3)).await;
    dispute(world, &cheat.key, &stale, false).await;
    let newest = stale.sent.voucher.unwrap().voucher.seq.0 + 1;
    let id = cheat.channel.id();
    until(world, id, "answer under siege", |state| state.clientSeq >= newest).await;
    pass(world, CHALLENGE_PERIOD_S + 1).await;
    closed(world, id).await;
    let fees = PAID / 1000 * 2;
    let got = purse(world, &cheat).await - (ENDOWMENT - DEPOSIT);
    cases.push(Case {
        name: format!("client shows an older state under siege of {FILES} files: what it paid"),
        fair: i128::try_from(2 * PAID + fees).unwrap(),
        got: i128::try_from(DEPOSIT + RECEIVED).unwrap() - i128::try_from(got).unwrap(),
    });
    sieges.iter().for_each(tokio::task::JoinHandle::abort);
    // Whoever comes after it is served.
    shop.client.shutdown().await;
    cheat.client.shutdown().await;
    let late = Person::arrive(world, "siege-late", world.listen).await;
    late.client.shutdown().await;
    hub.stop();
    std::fs::write(&world.config, config).unwrap();
}

/// Holds as many sockets as it can, and comes again for each that is thrown out.
async fn besiege(door: SocketAddr, words: &'static str) {
    let holds = (0..BESIEGERS).map(|_| async move {
        loop {
            if let Ok(mut socket) = TcpStream::connect(door).await
                && socket.write_all(words.as_bytes()).await.is_ok()
            {
                let mut heard = [0; 1 << 10];
                while socket.read(&mut heard).await.is_ok_and(|count| count > 0) {}
            }
            sleep(Duration::from_millis(500)).await;
        }
    });
    futures::future::join_all(holds).await;
}

/// The node, behind something that hangs up as soon as a connection is idle. Returns its URL.
async fn curt_node(upstream: &str) -> String {
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut front, _)) = listener.accept().await {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let mut back = TcpStream::connect(upstream).await?;
                let (mut asked, mut answered) = ([0; 16 << 10], [0; 16 << 10]);
                loop {
                    let idle = timeout(Duration::from_millis(100), async {
                        tokio::select! {
                            read = front.read(&mut asked) => {
                                let count = read?;
                                back.write_all(&asked[..count]).await?;
                                Ok::<_, std::io::Error>(count)
                            }
                            read = back.read(&mut answered) => {
                                let count = read?;
                                front.write_all(&answered[..count]).await?;
                                Ok(count)
                            }
                        }
                    });
                    match idle.await {
                        Ok(Ok(1..)) => {}
                        _ => return Ok::<_, std::io::Error>(()),
                    }
                }
            });
        }
    });
    url
}
