//! Things that the gate keeps.

use std::num::NonZeroU32;

use nodeweir_domain::gate::account::{Account, Lease, Period};
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_domain::gate::project::Project;
use nodeweir_domain::gate::restrict::{Restrictions, parse_range};
use nodeweir_domain::gate::usage::{UsageCounts, UsageKey, UsageRow};
use nodeweir_domain::name::{LogName, ProjectId, SidecarId};

use super::{at, network};

pub(crate) fn project_id(name: &str) -> ProjectId {
    name.parse().unwrap()
}

/// Projects of one name that differ in a number are two.
pub(crate) fn project(name: &str, rate: u32) -> Project {
    Project {
        id: project_id(name),
        tier: "enterprise".parse().unwrap(),
        created: at(1),
        requests_per_second: NonZeroU32::new(rate),
        credits_per_month: Some(u64::MAX),
        methods: vec!["debug_*".parse().unwrap()],
        websocket: true,
    }
}

/// One that is not restricted, of the project `shop`, called `one`.
pub(crate) fn key(number: u64) -> Key {
    Key {
        digest: KeyDigest::of(&number.to_string()),
        project: project_id("shop"),
        name: "one".parse().unwrap(),
        restrictions: Restrictions::default(),
        created: at(number),
        expires: None,
        revoked: None,
    }
}

pub(crate) fn named(number: u64, name: &str) -> Key {
    Key { name: name.parse().unwrap(), ..key(number) }
}

pub(crate) fn restrictions() -> Restrictions {
    Restrictions {
        networks: vec![network("ethereum"), network("polygon")],
        origins: vec!["https://*.example.com:8443".parse().unwrap()],
        addresses: vec![parse_range("10.0.0.0/8").unwrap(), parse_range("2001:db8::/32").unwrap()],
        methods: vec!["eth_*".parse().unwrap()],
        granted_methods: vec!["trace_block".parse().unwrap()],
        websocket: true,
    }
}

pub(crate) fn period(text: &str) -> Period {
    text.parse().unwrap()
}

pub(crate) fn sidecar(name: &str) -> SidecarId {
    name.parse().unwrap()
}

/// Of the project `shop` in 2026-11, without leases.
pub(crate) fn account(granted: u64) -> Account {
    Account::open(project_id("shop"), period("2026-11"), granted)
}

pub(crate) fn lease(amount: u64, until: u64) -> Lease {
    Lease { number: u64::MAX, amount, written_off: 3, until: at(until), was_forgotten: true }
}

pub(crate) fn log() -> LogName {
    "proxy-1".parse().unwrap()
}

/// One of the project `shop`, about the minute that holds `at(seconds)`, unless it is changed.
pub(crate) fn usage(seconds: u64, method: &str, calls: u64) -> UsageRow {
    let counts =
        UsageCounts { requests: 1, calls, credits: calls * 5, milliseconds: 7, bytes_in: 100, bytes_out: 1000 };
    UsageRow {
        of: UsageKey {
            start: nodeweir_domain::gate::usage::minute(at(seconds)),
            project: project_id("shop"),
            key: key(1).id(),
            network: network("ethereum"),
            method: method.to_owned(),
            status: 200,
        },
        counts,
    }
}
