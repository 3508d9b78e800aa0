//! What is run before anything published is known: each network's leader of the configuration, and nobody else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::list;
use nodeweir_domain::fleet::plan::{World, plan};
use nodeweir_domain::fleet::revision::Revision;

/// Never a published one's number.
const SEQ: u64 = 0;

pub(crate) fn revision(config: &Config) -> Revision {
    let (listed, health, at) = (list(&[], config), BTreeMap::new(), Timestamp::now());
    let plan =
        plan(World { config, listed: &listed, health: &health, published: None, is_intact: false, pin: None, now: at });
    let reason = "nothing published is known yet: the leaders serve alone".to_owned();
    Revision { seq: SEQ, proxy: config.proxy.kind, at, reason, rosters: plan.rosters, body: plan.body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaders_serve_alone() {
        let text =
            "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {name: l, url: 'http://192.0.2.7:8545'}}}";
        let revision = revision(&Config::read(text).unwrap());
        assert!(revision.body.contains("192.0.2.7:8545"), "{}", revision.body);
        assert!(revision.name().starts_with("0-"));
        assert_eq!(Revision::parse(&revision.compose()).unwrap(), revision);
    }
}
