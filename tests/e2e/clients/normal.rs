//! What applications do, with a real node.

use futures_util::future::join_all;

use super::play::{Play, Server};
use super::{Library, Scenario, run};
use crate::both::with_one;
use crate::nodes::Anvil;

/// Methods that belong to one node, or to its owner, and so cannot be had through a proxy of many.
const OF_ONE_NODE: [&str; 5] = [
    "eth_newFilter",
    "eth_newBlockFilter",
    "eth_newPendingTransactionFilter",
    "eth_getFilterChanges",
    "eth_sendTransaction",
];

#[tokio::test]
async fn every_library_does_what_applications_do() {
    with_one(async |_| {
        join_all(Library::ALL.map(works)).await;
    })
    .await;
}

async fn works(library: Library) {
    // One for each, because all send with the same account.
    let node = Anvil::start_mining().await;
    let outcome = run(library, &node.url(), Scenario::Normal).await;
    let expected = [
        ("chain", "1337"),
        ("block", "1000"),
        ("balance", "10000000000000000000000"),
        ("batch", "10000000000000000000000,0"),
        ("call", "0x"),
        ("logs", "0"),
        ("receipt", "1"),
    ];
    assert!(outcome.ok && outcome.values() == expected, "{outcome:#?}");
    assert_eq!(node.calls("eth_sendRawTransaction"), 1, "{}", library.name());
    for method in OF_ONE_NODE {
        assert_eq!(node.calls(method), 0, "{} calls {method}", library.name());
    }
}

/// What is counted on its way to a real server is answered by that server.
#[tokio::test]
async fn what_is_handed_on_is_counted() {
    let (node, server) = (Anvil::start().await, Server::start().await);
    let address = server.address(Play::To(node.port, "/".to_owned()));
    let outcome = run(Library::Alloy, &address, Scenario::Single).await;
    assert_eq!(outcome.values(), [("block", "1000")], "{outcome:?}");
    let outcome = run(Library::Alloy, &address, Scenario::Batch).await;
    assert!(outcome.ok && outcome.results.len() == 3, "{outcome:?}");
    let seen = server.seen(&address);
    assert_eq!((seen.requests(), seen.attempts(), seen.largest()), (2, 1, 3), "{seen:?}");
}
