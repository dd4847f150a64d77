//! Clients that show every older state of theirs, with the hub down until 1, 50 and 99 percent of the window have passed.

use crate::{
    MOMENTS,
    court::{Case, closed, dispute, pass, percent_of_window, purse, rest_of_window, until},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use client_sdk::Evidence;

/// Own payments of every cheat; each leaves an older state behind.
const PAYMENTS: usize = 4;
const RECEIVED: u128 = 100_000;
const PAID: u128 = 20_000;

struct Cheat {
    person: Person,
    /// By number of own payments.
    states: Vec<Evidence>,
}

/// Gets money, then spends it, and keeps what it held after each step.
async fn arrive(world: &World, shop: &Person, name: &str) -> Cheat {
    let person = Person::arrive(world, name, world.listen).await;
    let mut news = person.channel.payments(None);
    shop.pay(&person, RECEIVED).await;
    news.next().await.unwrap().unwrap();
    let mut states = vec![person.channel.evidence().await.unwrap()];
    for _ in 0..PAYMENTS {
        person.pay(shop, PAID).await;
        states.push(person.channel.evidence().await.unwrap());
    }
    Cheat { person, states }
}

pub(crate) async fn cheat(world: &World, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "shop", world.listen).await;
    for percent in MOMENTS {
        let names = (0..=PAYMENTS).map(|number| format!("cheat-{percent}-{number}"));
        let arriving = names.map(|name| {
            let shop = &shop;
            async move { arrive(world, shop, &name).await }
        });
        let cheats = futures::future::join_all(arriving).await;
        hub.kill();
        for (number, cheat) in cheats.iter().enumerate() {
            // The last one shows nothing at all.
            let (state, bare) = (&cheat.states[number], number == PAYMENTS);
            dispute(world, &cheat.person.key, state, bare).await;
        }
        pass(world, percent_of_window(percent)).await;
        hub = Hub::spawn(world);
        hub.ready();
        for cheat in &cheats {
            let newest = cheat.states[PAYMENTS].sent.voucher.as_ref().unwrap().voucher.seq;
            until(world, cheat.person.channel.id(), "answer", |state| {
                state.clientSeq >= newest.0
            })
            .await;
        }
        pass(world, rest_of_window(percent)).await;
        for (number, cheat) in cheats.into_iter().enumerate() {
            closed(world, cheat.person.channel.id()).await;
            let fair = cheat.person.settled();
            let got = purse(world, &cheat.person).await - (ENDOWMENT - DEPOSIT);
            let shown = match number {
                PAYMENTS => "nothing".to_owned(),
                _ => format!("its state before its last {} payments", PAYMENTS - number),
            };
            // What the cheat does not get is the hub's.
            let all = i128::try_from(DEPOSIT + RECEIVED).unwrap();
            cases.push(Case {
                name: format!("client shows {shown}, hub back at {percent} %"),
                fair: all - i128::try_from(fair).unwrap(),
                got: all - i128::try_from(got).unwrap(),
            });
            cheat.person.client.shutdown().await;
        }
    }
    shop.client.shutdown().await;
    hub.stop();
}
