//! What each library does with each refusal. Measured, and read in the libraries' sources; a new release may change it,
//! and then the contract with clients has to be looked at again.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::refusal::Refusal;
use super::{Library, Raised, Scenario};

/// What is to come of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// How often each call is sent.
    pub(crate) attempts: RangeInclusive<usize>,
    pub(crate) succeeds: bool,
    /// No attempt comes sooner after another.
    pub(crate) wait: Option<Duration>,
}

/// Attempts of a single call, and of each call of a batch.
type Attempts = (usize, usize);

/// When the refusal stays. viem repeats 403, 413, 503 and 504 by their status, unless it reads -32601; in an array it reads
/// no code. web3.py repeats whatever is no success, but no batch. alloy goes by the code alone, whatever the status.
#[rustfmt::skip]
const STAYING: [(&str, [Attempts; 6]); 9] = [
    //                        ethers5 ethers6 viem    web3js  web3py  alloy
    ("INVALID_API_KEY",      [(1, 1), (1, 1), (1, 1), (1, 1), (5, 1), (1, 1)]),
    ("KEY_INACTIVE",         [(1, 1), (1, 1), (1, 1), (1, 1), (5, 1), (1, 1)]),
    ("NETWORK_NOT_ALLOWED",  [(1, 1), (1, 1), (4, 4), (1, 1), (5, 1), (1, 1)]),
    ("METHOD_NOT_ALLOWED",   [(1, 1), (1, 1), (1, 4), (1, 1), (5, 1), (1, 1)]),
    ("INSUFFICIENT_CREDITS", [(1, 1), (1, 1), (1, 1), (1, 1), (5, 1), (1, 1)]),
    ("BATCH_TOO_LARGE",      [(1, 1), (1, 1), (4, 4), (1, 1), (5, 1), (1, 1)]),
    ("INVALID_REQUEST",      [(1, 1), (1, 1), (1, 1), (1, 1), (5, 1), (1, 1)]),
    ("UPSTREAM_TIMEOUT",     [(1, 1), (1, 1), (4, 4), (1, 1), (5, 1), (1, 1)]),
    ("UPSTREAM_UNAVAILABLE", [(1, 1), (1, 1), (4, 4), (1, 1), (5, 1), (1, 1)]),
];

/// When two requests are refused and then all is well: three attempts are a success.
#[rustfmt::skip]
const PASSING: [(&str, [Attempts; 6]); 2] = [
    //                        ethers5 ethers6 viem    web3js  web3py  alloy
    ("UPSTREAM_UNAVAILABLE", [(1, 1), (1, 1), (3, 3), (1, 1), (3, 1), (1, 1)]),
    ("RATE_LIMIT_EXCEEDED",  [(3, 3), (3, 3), (3, 3), (1, 1), (3, 1), (3, 3)]),
];

fn attempts(table: &[(&str, [Attempts; 6])], library: Library, refusal: Refusal, scenario: Scenario) -> usize {
    let row = table.iter().find(|(code, _)| *code == refusal.code).expect("a row for each refusal");
    let column = Library::ALL.iter().position(|one| *one == library).expect("a column for each library");
    let (single, batch) = row.1[column];
    if scenario == Scenario::Batch { batch } else { single }
}

/// Of a refusal that stays.
pub(crate) fn staying(library: Library, refusal: Refusal, scenario: Scenario) -> Expected {
    let attempts = attempts(&STAYING, library, refusal, scenario);
    Expected { attempts: attempts..=attempts, succeeds: false, wait: wait(library, refusal, attempts) }
}

/// Of a refusal that is over after two requests.
pub(crate) fn passing(library: Library, refusal: Refusal, scenario: Scenario) -> Expected {
    let attempts = attempts(&PASSING, library, refusal, scenario);
    Expected { attempts: attempts..=attempts, succeeds: attempts == 3, wait: wait(library, refusal, attempts) }
}

/// Of a rate limit that is over when it says so. None for those that would have given up by then.
pub(crate) fn keeping_its_word(library: Library) -> Option<Expected> {
    let attempts = match library {
        // Their own back-off: random, and longer each time.
        Library::Ethers5 | Library::Ethers6 => 2..=12,
        Library::Viem | Library::Alloy => 2..=2,
        Library::Web3Js | Library::Web3Py => return None,
    };
    Some(Expected { attempts, succeeds: true, wait: None })
}

/// viem and alloy wait as long as they are told. A tenth less, because timers may be early.
fn wait(library: Library, refusal: Refusal, attempts: usize) -> Option<Duration> {
    let seconds: u64 = refusal.retry_after?.parse().expect("seconds");
    let heeds = matches!(library, Library::Viem | Library::Alloy) && attempts > 1;
    heeds.then(|| Duration::from_millis(seconds * 900))
}

/// Whether an error is the library's proper one for this refusal, with everything that its user needs; if not, why.
/// `words` is what must be readable in it.
pub(crate) fn is_proper(
    library: Library,
    refusal: Refusal,
    scenario: Scenario,
    raised: &Raised,
    words: &[&str],
) -> Result<(), String> {
    let named = |name: &str, code: serde_json::Value| {
        let right = raised.name == name && raised.code == code;
        right.then_some(()).ok_or_else(|| format!("{name} with the code {code} is expected"))
    };
    match (library, scenario) {
        (Library::Ethers5 | Library::Ethers6, _) => named("Error", "SERVER_ERROR".into())?,
        (Library::Web3Js, _) => named("ResponseError", 100.into())?,
        (Library::Web3Py, _) => named("HTTPError", serde_json::Value::Null)?,
        (Library::Alloy, _) => named("ErrorResp", refusal.rpc.into())?,
        // viem reads nothing in an array with a bad status: its user sees the status alone. Unless a repeated batch has
        // fallen apart, and the last part was a single one.
        (Library::Viem, Scenario::Batch) => {
            let status = format!("Status: {}", refusal.status);
            let of_one = named(viem_name(refusal), refusal.rpc.into());
            of_one.or_else(|_| named("HttpRequestError", serde_json::Value::Null))?;
            return raised.message.contains(&status).then_some(()).ok_or_else(|| format!("no {status:?}"));
        }
        (Library::Viem, _) => named(viem_name(refusal), refusal.rpc.into())?,
    }
    let shown = format!("{} {}", raised.message, raised.data);
    match words.iter().find(|words| !shown.contains(**words)) {
        Some(missing) => Err(format!("its user cannot see {missing:?}")),
        None => Ok(()),
    }
}

/// viem has a class of its own for the codes that others use too.
fn viem_name(refusal: Refusal) -> &'static str {
    match refusal.rpc {
        -32600 => "InvalidRequestRpcError",
        -32601 => "MethodNotFoundRpcError",
        -32002 => "ResourceUnavailableRpcError",
        -32005 => "LimitExceededRpcError",
        -32603 => "InternalRpcError",
        _ => "RpcRequestError",
    }
}
