//! What the lease itself costs a request: looking at a purse, spending from it, and now and then a report and its answer.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use jiff::Timestamp;
use nodeweir_domain::gate::account::{Account, Period, Rules};
use nodeweir_domain::gate::clock::Nanos;
use nodeweir_domain::gate::project::MOST_CREDITS;
use nodeweir_domain::gate::purse::{Purse, Standing};

const REQUESTS: u64 = 10_000_000;
/// Of requests, in nanoseconds: 10,000 a second.
const APART: u64 = 100_000;
const ROUNDS: usize = 7;

pub(super) fn measure() -> anyhow::Result<()> {
    let mut rounds: Vec<(f64, u64)> = (0..ROUNDS).map(|_| round()).collect::<anyhow::Result<_>>()?;
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (median, settlings) = rounds[ROUNDS / 2];
    println!(
        "the lease of a project at 10,000 requests a second: {median:.1} ns a request ({:.1} to {:.1} in {ROUNDS} rounds), with \
         {settlings} settlings in {REQUESTS} requests",
        rounds[0].0,
        rounds[ROUNDS - 1].0
    );
    Ok(())
}

fn round() -> anyhow::Result<(f64, u64)> {
    let at = Timestamp::UNIX_EPOCH;
    let mut account = Account::open("shop".parse()?, Period::of(at), MOST_CREDITS);
    let (sidecar, rules) = ("gate".parse()?, Rules::of(MOST_CREDITS, 2));
    let mut purse = Purse::new(0, Nanos(1));
    let (mut settlings, began) = (0, Instant::now());
    for index in 0..REQUESTS {
        let now = Nanos(2 + index * APART);
        loop {
            let standing = black_box(&mut purse).spend(black_box(1), now);
            if standing == Standing::TopUp || purse.needs_settling(now) {
                let (report, ask) = purse.report(&[1], 0, NonZeroU32::MIN, now);
                let (next, terms) = account.settle(&sidecar, &report, ask, &rules, at);
                account = next;
                purse.settled(&terms, now);
                settlings += 1;
            }
            if standing.passes() {
                break;
            }
        }
    }
    Ok((began.elapsed().as_nanos() as f64 / REQUESTS as f64, settlings))
}
