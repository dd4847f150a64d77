//! Hubs that show an old voucher of their client, or vanish.

use crate::{
    MOMENTS,
    court::{Case, act, closed, dispute, owner, pass, percent_of_window, rest_of_window, turned},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use hub::settle::Verb;

const PAID: u128 = 50_000;
const RECEIVED: u128 = 200_000;

pub(crate) async fn cheat(world: &World, cases: &mut Vec<Case>) {
    for moment in MOMENTS.map(Some).into_iter().chain([None]) {
        let mut hub = Hub::spawn(world);
        hub.ready();
        let name = moment.map_or("left".to_owned(), |percent| format!("{percent}"));
        let shop = Person::arrive(world, &format!("payer-{name}"), world.listen).await;
        let alice = Person::arrive(world, &format!("alice-{name}"), world.listen).await;
        alice.pay(&shop, PAID).await;
        let old = alice.channel.evidence().await.unwrap();
        let mut news = alice.channel.payments(None);
        shop.pay(&alice, RECEIVED).await;
        news.next().await.unwrap().unwrap();
        let newest = alice.channel.evidence().await.unwrap();
        let (fair, id) = (alice.settled(), alice.channel.id());
        alice.client.shutdown().await;
        shop.client.shutdown().await;
        hub.kill();
        let name = match moment {
            Some(percent) => {
                // Its own newest voucher, with what she has received since, is the last thing it would show.
                dispute(world, &owner(world), &turned(&old), false).await;
                pass(world, percent_of_window(percent)).await;
                act(world, &alice.key, &newest, Verb::Submit).await;
                pass(world, rest_of_window(percent)).await;
                format!("hub shows an old voucher, client answers at {percent} %")
            }
            None => {
                act(world, &alice.key, &newest, Verb::Dispute).await;
                pass(world, rest_of_window(0)).await;
                "hub has vanished".to_owned()
            }
        };
        act(world, &alice.key, &newest, Verb::Finalize).await;
        closed(world, id).await;
        let got = world.tokens_of(alice.key.address()).await - (ENDOWMENT - DEPOSIT);
        cases.push(Case {
            name,
            fair: i128::try_from(fair).unwrap(),
            got: i128::try_from(got).unwrap(),
        });
    }
}
