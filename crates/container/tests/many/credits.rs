//! One project's credits among several gates.

use std::time::Duration;

use crate::client::Connection;
use crate::load::Load;
use crate::process::until;
use crate::world::{Task, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn together_they_spend_what_was_granted_to_the_last_credit_and_not_one_more() {
    let mut world = World::strict(3).await;
    let key = world.key("shop", "small").await;
    let ports: Vec<u16> = world.tasks.iter().map(Task::port).collect();
    let load = Load::start(&ports, &key, Duration::from_millis(2));
    load.passes(2000).await;
    let (counts, _) = load.end().await;
    assert_eq!((counts.of(402), counts.broken), (0, 0), "{counts:?}");
    // After some quiet nothing is leased, so that whoever asks has all of it.
    let all_back = async || (world.account("shop").await.leased() == 0).then_some(());
    until("the leases are back", all_back).await;
    let account = world.account("shop").await;
    assert_eq!((account.spent, account.written_off), (counts.passed(), 0));

    let path = format!("/ethereum/v3/{key}");
    let load = Load::start(&ports, &key, Duration::from_millis(2));
    until("it is all spent", async || {
        // Identity and bound hold at every moment.
        let account = world.account("shop").await;
        assert!(account.left() >= 0, "{account:?}");
        (account.spent == account.granted).then_some(())
    })
    .await;
    let (more, _) = load.end().await;
    assert_eq!(counts.passed() + more.passed(), 5000, "{more:?}");
    for port in ports {
        // What a gate was told of the others' leases may be a second old.
        until("nothing is left", async || {
            let answer = Connection::call(port, &path, "eth_blockNumber").await.unwrap();
            // 503 of a store that has no time.
            assert!(matches!(answer.status, 402 | 503), "{answer:?}");
            (answer.status == 402 && answer.header("x-credits-remaining") == Some("0")).then_some(())
        })
        .await;
    }
    world.stop().await;
    let account = world.account("shop").await;
    assert_eq!((account.spent, account.leased(), account.written_off), (5000, 0, 0), "{account:?}");
    // Each gate has counted its own lines; refused calls are counted too, and cost nothing.
    let (calls, credits) = world.used("shop").await;
    assert_eq!(credits, 5000);
    assert!(calls > 5000, "{calls}");
}
