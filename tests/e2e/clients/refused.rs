//! Every library meets every refusal, alone and in a batch: it raises its proper error, and sends no more than it is known
//! to send.

use std::time::Duration;

use super::expected::{Expected, is_proper, keeping_its_word, passing, staying};
use super::play::{Play, Server};
use super::refusal::{REFUSALS, Refusal};
use super::seen::Seen;
use super::{Library, Outcome, Scenario, run, run_all};
use crate::both::with_one;

const FORMS: [Scenario; 2] = [Scenario::Single, Scenario::Batch];

/// A scenario at an address that refuses in some way.
pub(crate) struct Case {
    pub(crate) refusal: Refusal,
    pub(crate) scenario: Scenario,
    pub(crate) play: Play,
    pub(crate) expected: Expected,
}

/// A case for each refusal that stays, single and batch. `play` is how to have it, None where it cannot be had. The
/// rate limit is not among them: ethers would try for minutes.
pub(crate) fn staying_cases(library: Library, play: impl Fn(Refusal, Scenario) -> Option<Play>) -> Vec<Case> {
    let mut cases = Vec::new();
    for refusal in REFUSALS.into_iter().filter(|refusal| refusal.code != "RATE_LIMIT_EXCEEDED") {
        for scenario in FORMS {
            if let Some(play) = play(refusal, scenario) {
                cases.push(Case { refusal, scenario, play, expected: staying(library, refusal, scenario) });
            }
        }
    }
    cases
}

/// Refusals that are over after a while.
fn passing_cases(library: Library) -> Vec<Case> {
    let mut cases = Vec::new();
    for scenario in FORMS {
        for refusal in ["UPSTREAM_UNAVAILABLE", "RATE_LIMIT_EXCEEDED"].map(Refusal::of) {
            let expected = passing(library, refusal, scenario);
            cases.push(Case { refusal, scenario, play: Play::Times(2, refusal), expected });
        }
        if let Some(expected) = keeping_its_word(library) {
            let refusal = Refusal::of("RATE_LIMIT_EXCEEDED");
            // It says two seconds; a timer may be early.
            let play = Play::For(Duration::from_millis(1900), refusal);
            cases.push(Case { refusal, scenario, play, expected });
        }
    }
    cases
}

/// Runs all cases and says everything that was otherwise.
pub(crate) async fn check(library: Library, cases: Vec<Case>) {
    let server = Server::start().await;
    let wanted: Vec<_> = cases.iter().map(|case| (server.address(case.play.clone()), case.scenario)).collect();
    let outcomes = run_all(library, &wanted).await;
    let mut faults = Vec::new();
    for ((case, outcome), (address, _)) in cases.iter().zip(&outcomes).zip(&wanted) {
        let seen = server.seen(address);
        if let Err(fault) = judge(library, case, outcome, &seen) {
            let Case { refusal, scenario, play, .. } = case;
            faults.push(format!("{} {scenario} at {play:?}: {fault}\n  {outcome:?}\n  {seen:?}", refusal.code));
        }
    }
    let version = &outcomes[0].version;
    assert!(faults.is_empty(), "{} {version} does otherwise:\n{}", library.name(), faults.join("\n"));
}

fn judge(library: Library, case: &Case, outcome: &Outcome, seen: &Seen) -> Result<(), String> {
    let Case { refusal, scenario, play, expected } = case;
    let insist = |right: bool, fault: String| right.then_some(()).ok_or(fault);
    insist(!outcome.timed_out, "it still tries".to_owned())?;
    insist(!outcome.uncaught, "it throws where nobody can catch".to_owned())?;
    let together = if *scenario == Scenario::Batch { 3 } else { 1 };
    // viem repeats each member by itself, and together only those whose timers run out at the same moment. On a busy
    // machine a batch falls apart, and its parts are not too large for a real server.
    let passes_in_parts = library == Library::Viem
        && refusal.code == "BATCH_TOO_LARGE"
        && matches!(play, Play::To(..))
        && seen.smallest() < together;
    let expected = if passes_in_parts {
        &Expected { attempts: 2..=*expected.attempts.end(), succeeds: true, wait: None }
    } else {
        expected
    };
    let attempts = seen.attempts();
    insist(expected.attempts.contains(&attempts), format!("{attempts} attempts, not {:?}", expected.attempts))?;
    insist(seen.largest() == together, format!("{} calls in a request, not {together}", seen.largest()))?;
    if let Some(wait) = expected.wait {
        insist(seen.shortest_wait() >= Some(wait), format!("it waited {:?}, not {wait:?}", seen.shortest_wait()))?;
    }
    insist(outcome.ok == expected.succeeds, format!("success is {}", outcome.ok))?;
    match &outcome.error {
        // What a real server says besides the code is its own affair.
        Some(raised) if matches!(play, Play::To(..) | Play::Drained(..)) => {
            is_proper(library, *refusal, *scenario, raised, &[refusal.code])
        }
        Some(raised) => is_proper(library, *refusal, *scenario, raised, &[refusal.code, refusal.message]),
        None if matches!(play, Play::To(..) | Play::Drained(..)) => Ok(()),
        None => insist(outcome.values() == good(*scenario), "wrong results".to_owned()),
    }
}

/// The results that the scripted server's answers lead to.
fn good(scenario: Scenario) -> Vec<(&'static str, &'static str)> {
    match scenario {
        Scenario::Batch => vec![
            ("0x0000000000000000000000000000000000000001", "1"),
            ("0x0000000000000000000000000000000000000002", "2"),
            ("0x0000000000000000000000000000000000000003", "3"),
        ],
        _ => vec![("block", "16")],
    }
}

async fn meets_every_refusal(library: Library) {
    let mut cases = staying_cases(library, |refusal, _| Some(Play::Refuse(refusal)));
    cases.extend(passing_cases(library));
    with_one(async |_| check(library, cases).await).await;
}

#[tokio::test]
async fn ethers_5_meets_every_refusal() {
    meets_every_refusal(Library::Ethers5).await;
}

#[tokio::test]
async fn ethers_6_meets_every_refusal() {
    meets_every_refusal(Library::Ethers6).await;
}

#[tokio::test]
async fn viem_meets_every_refusal() {
    meets_every_refusal(Library::Viem).await;
}

#[tokio::test]
async fn web3_js_meets_every_refusal() {
    meets_every_refusal(Library::Web3Js).await;
}

#[tokio::test]
async fn web3_py_meets_every_refusal() {
    meets_every_refusal(Library::Web3Py).await;
}

#[tokio::test]
async fn alloy_meets_every_refusal() {
    meets_every_refusal(Library::Alloy).await;
}

/// An ethers provider that was given the URL alone asks for the network first. ethers 5 then hides the refusal behind an
/// error of its own, after asking twice in two ways; ethers 6 shows it, and would ask once more every second for as long
/// as the provider lives.
#[tokio::test]
async fn ethers_asks_for_the_network_first() {
    with_one(async |_| {
        let server = Server::start().await;
        let refusal = Refusal::of("INVALID_API_KEY");

        let address = server.address(Play::Refuse(refusal));
        let raised = run(Library::Ethers5, &address, Scenario::Fresh).await.error.expect("an error");
        assert_eq!(raised.code, "NETWORK_ERROR", "{raised:?}");
        assert!(raised.message.contains("could not detect network"), "{raised:?}");
        assert_eq!((server.seen(&address).requests(), server.seen(&address).attempts()), (4, 2));

        let address = server.address(Play::Refuse(refusal));
        let raised = run(Library::Ethers6, &address, Scenario::Fresh).await.error.expect("an error");
        is_proper(Library::Ethers6, refusal, Scenario::Single, &raised, &[refusal.code, refusal.message]).unwrap();
        // The second is a second later, if the program is still there.
        assert!(server.seen(&address).requests() <= 2, "{:?}", server.seen(&address));
    })
    .await;
}
