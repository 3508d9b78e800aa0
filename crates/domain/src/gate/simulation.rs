//! Several sidecars' purses and the accounts that they settle with, under everything that may go wrong: writes and
//! answers that are lost or late, sidecars that stop, crash or have wrong clocks, a ledger that is away, month ends.

mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use world::{Fate, World};

/// What happens next. `who` is one of the sidecars.
#[derive(Debug, Clone)]
enum Op {
    Requests {
        who: usize,
        cost: u64,
        count: u8,
    },
    Refund {
        who: usize,
        amount: u64,
    },
    Settle {
        who: usize,
        fate: Fate,
    },
    /// A late write arrives, if nothing else was written since it was prepared.
    Deliver,
    Tick,
    Pass {
        millis: u64,
    },
    Pause {
        who: usize,
    },
    Crash {
        who: usize,
    },
    SetClock {
        who: usize,
        seconds: i64,
    },
    Outage,
    Grant {
        more: u64,
    },
    WriteOff,
}

const SIDECARS: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let who = || 0..SIDECARS;
    let cost = prop_oneof![1 => Just(0), 8 => 1..12_u64, 2 => 12..100_u64, 1 => 100..2000_u64];
    let fate = prop_oneof![4 => Just(Fate::Fine), 1 => Just(Fate::LostWrite), 2 => Just(Fate::LostAnswer), 2 => Just(Fate::Late)];
    let millis =
        prop_oneof![30 => 0..1500_u64, 10 => 1500..8000_u64, 4 => 8000..120_000_u64, 1 => 3_000_000..8_000_000_u64];
    prop_oneof![
        20 => (who(), cost, 1..20_u8).prop_map(|(who, cost, count)| Op::Requests { who, cost, count }),
        3 => (who(), 1..50_u64).prop_map(|(who, amount)| Op::Refund { who, amount }),
        12 => (who(), fate).prop_map(|(who, fate)| Op::Settle { who, fate }),
        3 => Just(Op::Deliver),
        8 => Just(Op::Tick),
        16 => millis.prop_map(|millis| Op::Pass { millis }),
        3 => who().prop_map(|who| Op::Pause { who }),
        1 => who().prop_map(|who| Op::Crash { who }),
        2 => (who(), -60..=60_i64).prop_map(|(who, seconds)| Op::SetClock { who, seconds }),
        2 => Just(Op::Outage),
        1 => (1..500_u64).prop_map(|more| Op::Grant { more }),
        1 => Just(Op::WriteOff),
    ]
}

fn run(world: &mut World, op: &Op) {
    match *op {
        Op::Requests { who, cost, count } => (0..count).for_each(|_| {
            world.request(who, cost);
        }),
        Op::Refund { who, amount } => world.refund(who, amount),
        Op::Settle { who, fate } => world.settle(who, fate),
        Op::Deliver => world.deliver(),
        Op::Tick => world.tick(),
        Op::Pass { millis } => world.pass(millis),
        Op::Pause { who } => world.pause(who),
        Op::Crash { who } => world.crash(who),
        Op::SetClock { who, seconds } => world.set_clock(who, seconds),
        Op::Outage => world.is_away = !world.is_away,
        Op::Grant { more } => world.grant(more),
        Op::WriteOff => world.write_off(),
    }
}

#[test]
fn whatever_goes_wrong_no_credit_is_lost_or_spent_twice() {
    let ops = proptest::collection::vec(op(), 1..120);
    let start = (
        0..120_u64,
        prop_oneof![Just(3000_u64), Just(300), Just(30), Just(20_000)],
        prop_oneof![Just(0_usize), Just(16)],
    );
    let runs = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    TestRunner::new(runs)
        .run(&(start, ops), |((seconds, granted, remember), ops)| {
            let mut world = World::new(SIDECARS, seconds, granted, remember);
            for op in &ops {
                run(&mut world, op);
                world.check();
            }
            world.calm_down();
            world.check_quiet();
            world.check_no_false_refusal();
            world.check_end();
            Ok(())
        })
        .unwrap();
}
