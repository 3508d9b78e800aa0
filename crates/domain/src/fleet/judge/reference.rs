//! Which head the nodes of a network are compared with.

use serde::{Deserialize, Serialize};

/// Who vouches for a reference head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The leader.
    Leader,
    /// Two own nodes that agree.
    TwoNodes,
    /// The only own node that answers, with the leader silent.
    OnlyNode,
}

/// The head that nodes are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// A block number.
    pub head: u64,
    /// Who vouches for it.
    pub by: Witness,
}

/// Finds the reference head among the heads of those that answered for the right chain.
///
/// The leader's head, unless two own nodes agree, within `tolerance`, on one that is further ahead of it than
/// `tolerance`. Without the leader: what two own nodes agree on, or the only node's head. Otherwise nobody can say.
pub fn reference(leader: Option<u64>, own: &[u64], tolerance: u64) -> Option<Reference> {
    let agreed = agreed(own, tolerance);
    match (leader, agreed, own) {
        (Some(leader), Some(agreed), _) if agreed.saturating_sub(leader) > tolerance => {
            Some(Reference { head: agreed, by: Witness::TwoNodes })
        }
        (Some(head), ..) => Some(Reference { head, by: Witness::Leader }),
        (None, Some(head), _) => Some(Reference { head, by: Witness::TwoNodes }),
        (None, None, [head]) => Some(Reference { head: *head, by: Witness::OnlyNode }),
        (None, None, _) => None,
    }
}

/// The highest head that two nodes share within `tolerance`: the lower of the two, which both have reached. Taking
/// the higher one would let a single liar push the reference up by the tolerance.
fn agreed(heads: &[u64], tolerance: u64) -> Option<u64> {
    let mut heads = heads.to_vec();
    heads.sort_unstable_by(|a, b| b.cmp(a));
    heads.windows(2).find(|pair| pair[0] - pair[1] <= tolerance).map(|pair| pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule() {
        let by = |leader, own: &[u64]| reference(leader, own, 10).map(|r| (r.head, r.by));
        assert_eq!(by(Some(100), &[]), Some((100, Witness::Leader)));
        assert_eq!(by(Some(100), &[90, 50]), Some((100, Witness::Leader)));
        assert_eq!(by(Some(100), &[110, 110]), Some((100, Witness::Leader)), "ahead by the tolerance is no lag");
        assert_eq!(by(Some(100), &[111, 112]), Some((111, Witness::TwoNodes)), "the leader lags");
        assert_eq!(by(Some(100), &[500]), Some((100, Witness::Leader)), "one node alone does not overrule it");
        assert_eq!(by(Some(100), &[500, 111]), Some((100, Witness::Leader)), "they do not agree");
        assert_eq!(by(None, &[100, 95, 88]), Some((95, Witness::TwoNodes)));
        assert_eq!(by(None, &[9_000, 100, 99]), Some((99, Witness::TwoNodes)), "a liar is alone");
        assert_eq!(by(None, &[100]), Some((100, Witness::OnlyNode)));
        assert_eq!(by(None, &[9_000, 100]), None);
        assert_eq!(by(None, &[]), None);
        assert_eq!(by(Some(0), &[u64::MAX, u64::MAX]), Some((u64::MAX, Witness::TwoNodes)));
    }
}
