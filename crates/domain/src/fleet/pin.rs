//! A rollback: an earlier revision's rosters stay published, for a while and under conditions.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::fleet::judge::{Health, Reason, State};
use crate::fleet::node::Listed;
use crate::fleet::roster::{Member, Rosters};
use crate::name::NetworkId;

use std::collections::BTreeMap;

/// An operator's word that an earlier revision's rosters shall be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Which revision's.
    pub revision: u64,
    /// The rosters as they were.
    pub rosters: Rosters,
    /// Who said so.
    pub by: String,
    /// Why, in their words; may be empty.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Pin {
    /// Why the pin no longer holds, if it does not. It ends at its time; when a pinned node was cordoned, removed,
    /// moved or found on a wrong chain; and when in some network none of the pinned nodes answers.
    pub fn released(
        &self,
        config: &Config,
        listed: &Listed,
        health: &BTreeMap<NetworkId, Health>,
        now: Timestamp,
    ) -> Option<String> {
        if now >= self.until {
            return Some(format!("it was to end at {}", self.until));
        }
        let unknown = Health::default();
        self.rosters.iter().filter(|(network, _)| config.networks.contains_key(network)).find_map(
            |(network, roster)| {
                let health = health.get(network).unwrap_or(&unknown);
                let fault = |member: &Member| {
                    let Some(node) = listed.of(network).find(|node| node.name == member.name) else {
                        return Some("was removed");
                    };
                    if node.address != member.address {
                        Some("is at another address now")
                    } else if node.is_cordoned(now) {
                        Some("is cordoned")
                    } else {
                        health.is_on_wrong_chain(node).then_some("is on a wrong chain")
                    }
                };
                let silent = |member: &Member| {
                    let status = health.statuses.get(&member.name).filter(|status| status.address == member.address);
                    status.is_some_and(|status| {
                        status.state == State::Unhealthy && matches!(status.reason, Some(Reason::Failed(_)))
                    })
                };
                let faulty =
                    roster.everyone().find_map(|member| Some(format!("{network}: {} {}", member.name, fault(member)?)));
                let all_silent = roster.everyone().next().is_some() && roster.everyone().all(silent);
                faulty.or_else(|| all_silent.then(|| format!("{network}: none of the pinned nodes answers")))
            },
        )
    }
}
