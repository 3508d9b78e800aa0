//! The decision, from what all other modules of the gate know.
//!
//! Order: well-formed (`request`) -> key -> active -> network -> origin -> address -> method -> rate -> credits. Look
//! first, spend last: [`permit`] spends nothing, and [`spend`] takes rate and credits only if both are there.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use jiff::Timestamp;

use super::account::Rules;
use super::clock::Nanos;
use super::method::{self, MethodPattern};
use super::price::Prices;
use super::project::{Project, Tier};
use super::purse::{Purse, Standing};
use super::rate::{Bucket, Level, Limited, Quota};
use super::refusal::{Inactive, Rate, Refusal};
use super::request::Call;
use super::restrict::Restrictions;
use crate::config::Gate;

/// What the opening of a WebSocket is called where a method's name stands.
pub const WEBSOCKET: &str = "websocket";

/// Shown where a client's address is not known.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a project may, ready for deciding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// How fast each of its keys may ask. `None`: its tier is not in the configuration any more, or states no limits,
    /// and neither does the project; then nothing passes.
    pub quota: Option<Quota>,
    /// Credits granted each month.
    pub credits_per_month: u64,
    /// How credits are leased.
    pub rules: Rules,
    /// Costly methods that it is given.
    pub methods: Vec<MethodPattern>,
    /// Whether it may open WebSockets.
    pub websocket: bool,
}

impl Rights {
    /// The rights of a project under today's configuration.
    pub fn of(project: &Project, gate: &Gate) -> Self {
        let tier = gate.tiers.get(&project.tier);
        let allowance = tier.and_then(|tier| project.allowance(tier));
        let credits_per_month = allowance.map_or(0, |allowance| allowance.credits_per_month);
        let of_tier = tier.map_or(&[][..], |tier: &Tier| &tier.methods);
        Self {
            quota: allowance.map(|allowance| Quota::of(allowance.requests_per_second)),
            credits_per_month,
            rules: Rules::of(credits_per_month, gate.overdraft_percent),
            methods: of_tier.iter().chain(&project.methods).cloned().collect(),
            websocket: project.websocket || tier.is_some_and(|tier| tier.websocket),
        }
    }
}

/// Who asks, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// What the key's project may.
    pub rights: &'a Rights,
    /// What the key is restricted to; `None` is to nothing.
    pub restrictions: Option<&'a Restrictions>,
    /// Whether the key was revoked.
    pub is_revoked: bool,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
}

/// What is asked for, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The network's name.
    pub network: &'a str,
    /// The `Origin` header; empty if there was none.
    pub origin: &'a str,
    /// The client's address; `None` if it is not known.
    pub address: Option<IpAddr>,
    /// Now.
    pub at: Timestamp,
}

/// Leave to spend: nothing but rate and credits stands against the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    /// What it costs.
    pub cost: u64,
    /// JSON-RPC calls in it, which is what the rate counts.
    pub calls: u32,
    /// How fast the key may ask.
    pub quota: Quota,
}

/// Everything that can be said without rate and credits.
pub fn permit(
    call: &Call<'_>,
    caller: &Caller<'_>,
    about: &Circumstances<'_>,
    prices: &Prices,
) -> Result<Permit, Refusal> {
    let quota = enter(caller, about)?;
    let mut cost = 0_u64;
    let mut last = None;
    for member in call.members() {
        let name = member.method.as_ref();
        let price = match last {
            // Most batches repeat one method.
            Some((same, price)) if same == name => price,
            _ if may_call(name, caller) => prices.price(about.network, name),
            _ => return Err(Refusal::MethodNotAllowed { method: name.into() }),
        };
        cost = cost.saturating_add(price);
        last = Some((name, price));
    }
    Ok(Permit { cost, calls: u32::try_from(call.members().len()).unwrap_or(u32::MAX), quota })
}

/// The same for the handshake of a WebSocket. It costs one call's rate and no credits: its messages are not seen.
pub fn permit_websocket(caller: &Caller<'_>, about: &Circumstances<'_>) -> Result<Permit, Refusal> {
    let quota = enter(caller, about)?;
    if caller.rights.websocket || caller.restrictions.is_some_and(|own| own.websocket) {
        Ok(Permit { cost: 0, calls: 1, quota })
    } else {
        // Refused by the name that reports have for it.
        Err(Refusal::MethodNotAllowed { method: WEBSOCKET.into() })
    }
}

fn enter(caller: &Caller<'_>, about: &Circumstances<'_>) -> Result<Quota, Refusal> {
    if caller.is_revoked {
        return Err(Refusal::KeyInactive { reason: Inactive::Revoked });
    }
    if caller.expires.is_some_and(|at| at <= about.at) {
        return Err(Refusal::KeyInactive { reason: Inactive::Expired });
    }
    if let Some(own) = caller.restrictions {
        if !own.allows_network(about.network) {
            return Err(Refusal::NetworkNotAllowed { network: about.network.into() });
        }
        if !own.allows_origin(about.origin) {
            let origin = (!about.origin.is_empty()).then(|| about.origin.into());
            return Err(Refusal::DomainNotAllowed { origin });
        }
        if !own.allows_address(about.address) {
            return Err(Refusal::IpNotAllowed { address: about.address.unwrap_or(UNKNOWN) });
        }
    }
    caller.rights.quota.ok_or(Refusal::GateUnavailable)
}

fn may_call(name: &str, caller: &Caller<'_>) -> bool {
    let own = caller.restrictions.map_or(&[][..], |own| &own.granted_methods);
    method::is_allowed(name, caller.rights.methods.iter().chain(own))
        && caller.restrictions.is_none_or(|own| own.allows_method(name))
}

/// What a request that passes is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// What is left of the rate.
    pub level: Level,
    /// What is left of the credits, as far as is known here.
    pub credits: Option<u64>,
    /// Whether it was paid beyond the lease, the ledger being away.
    pub is_overdraft: bool,
}

/// Why a permitted request does not pass, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It does not, and nothing was spent.
    Refused(Refusal, Level),
    /// The ledger must be asked for more first; then [`spend`] again.
    TopUp(Level),
    /// The month has ended; the next one's purse must be asked.
    Closed,
}

/// Takes what the request needs of rate and credits, or nothing at all. `bucket` is that of one of `live` sidecars.
pub fn spend(
    permit: &Permit,
    live: NonZeroU32,
    bucket: &mut Bucket,
    purse: &mut Purse,
    now: Nanos,
) -> Result<Passed, Held> {
    let tokens = permit.quota.tokens(permit.calls, live);
    let level = match bucket.look(permit.quota, tokens, now) {
        Ok(level) => level,
        Err(Limited { retry_after, current_rps, allowed_rps, level }) => {
            let backoff_seconds = u64::from(retry_after).into();
            let refusal = Refusal::RateLimited { rate: Rate { backoff_seconds, current_rps, allowed_rps } };
            return Err(Held::Refused(refusal, level));
        }
    };
    let standing = purse.spend(permit.cost, now);
    match standing {
        Standing::Enough | Standing::Overdraft => Ok(Passed {
            level: bucket.take(permit.quota, tokens, now),
            credits: purse.remaining(),
            is_overdraft: standing == Standing::Overdraft,
        }),
        Standing::TopUp => Err(Held::TopUp(level)),
        Standing::Short => {
            let remaining = purse.remaining().unwrap_or_default();
            Err(Held::Refused(Refusal::InsufficientCredits { cost: permit.cost, remaining }, level))
        }
        Standing::Away => Err(Held::Refused(Refusal::GateUnavailable, level)),
        Standing::Closed => Err(Held::Closed),
    }
}
