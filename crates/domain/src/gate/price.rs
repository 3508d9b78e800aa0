//! What a method costs, in credits.
//!
//! Looked up by network and method, then method, then the table's default; what the configuration overrides comes
//! first. The tables of Infura and Alchemy are facts from their documentation; the sources stand in `tables.json`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::name::NetworkId;

/// Which table prices come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Standard methods 1, heavy ones 5, transactions 10.
    Nexus,
    /// What Infura charges.
    Infura,
    /// What Alchemy charges.
    Alchemy,
}

impl Table {
    /// Every table there is.
    pub const ALL: [Self; 3] = [Self::Nexus, Self::Infura, Self::Alchemy];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nexus => "nexus",
            Self::Infura => "infura",
            Self::Alchemy => "alchemy",
        }
    }
}

#[derive(Deserialize)]
struct Facts {
    infura: InfuraFacts,
    alchemy: AlchemyFacts,
}

#[derive(Deserialize)]
struct InfuraFacts {
    default: u64,
    methods: HashMap<String, u64>,
    networks: HashMap<String, HashMap<String, u64>>,
}

#[derive(Deserialize)]
struct AlchemyFacts {
    methods: HashMap<String, u64>,
}

static FACTS: LazyLock<Facts> = LazyLock::new(|| {
    // A test reads it, so that what could fail here fails there.
    serde_json::from_str(include_str!("price/tables.json")).unwrap_or_else(|_| Facts {
        infura: InfuraFacts { default: 80, methods: HashMap::new(), networks: HashMap::new() },
        alchemy: AlchemyFacts { methods: HashMap::new() },
    })
});

/// Alchemy states no price for other methods; this is what most of its standard ones cost.
const ALCHEMY_DEFAULT: u64 = 20;

/// The prices in force: a table, and what the configuration says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// Where prices come from that nothing overrides.
    pub table: Table,
    /// The price of methods that neither stand below nor in the table; the table's own if `None`.
    pub default: Option<u64>,
    /// By method, on every network.
    pub methods: BTreeMap<String, u64>,
    /// By network and method; these come first.
    pub networks: BTreeMap<NetworkId, BTreeMap<String, u64>>,
}

impl Prices {
    /// A table as it stands.
    pub fn of(table: Table) -> Self {
        Self { table, default: None, methods: BTreeMap::new(), networks: BTreeMap::new() }
    }

    /// Credits for one call of `method` on `network`.
    pub fn price(&self, network: &str, method: &str) -> u64 {
        if !self.networks.is_empty()
            && let Some((_, own)) = self.networks.iter().find(|(id, _)| id.as_str() == network)
            && let Some(price) = own.get(method)
        {
            return *price;
        }
        if let Some(price) = self.methods.get(method) {
            return *price;
        }
        match self.table {
            Table::Nexus => nexus(method, self.default.unwrap_or(1)),
            Table::Infura => {
                let facts = &FACTS.infura;
                let own = facts.networks.get(network).and_then(|own| own.get(method));
                *own.or_else(|| facts.methods.get(method)).unwrap_or(&self.default.unwrap_or(facts.default))
            }
            Table::Alchemy => {
                let default = self.default.unwrap_or(ALCHEMY_DEFAULT);
                FACTS.alchemy.methods.get(method).copied().unwrap_or(default)
            }
        }
    }

    /// Whether the method has a name that a report may show: one that stands in a table or in the configuration, or a
    /// common one. Others are counted together, because clients can invent any number of them.
    pub fn knows(&self, method: &str) -> bool {
        FACTS.infura.methods.contains_key(method)
            || FACTS.infura.networks.values().any(|own| own.contains_key(method))
            || FACTS.alchemy.methods.contains_key(method)
            || self.methods.contains_key(method)
            || self.networks.values().any(|own| own.contains_key(method))
    }
}

/// What Nexus names beside heavy methods and transactions, the ones that are asked most first. What nobody may call is
/// left out.
const STANDARD: [&str; 28] = [
    "eth_call",
    "eth_blockNumber",
    "eth_chainId",
    "eth_getBalance",
    "eth_gasPrice",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_feeHistory",
    "eth_maxPriorityFeePerGas",
    "net_version",
    "web3_clientVersion",
    "eth_syncing",
    "eth_blobBaseFee",
    "eth_createAccessList",
    "eth_getUncleByBlockHashAndIndex",
    "eth_getUncleByBlockNumberAndIndex",
    "eth_getUncleCountByBlockHash",
    "eth_getUncleCountByBlockNumber",
    "eth_getWork",
    "eth_hashrate",
    "eth_mining",
    "eth_protocolVersion",
    "eth_submitWork",
    "eth_subscribe",
    "eth_unsubscribe",
    "net_listening",
    "net_peerCount",
    "web3_sha3",
];

fn nexus(method: &str, default: u64) -> u64 {
    const TRANSACTION: [&str; 3] = ["eth_sendRawTransaction", "eth_estimateGas", "eth_simulateV1"];
    const HEAVY: [&str; 7] =
        ["eth_getBlock", "eth_getTransaction", "eth_getLogs", "eth_getFilterLogs", "eth_getProof", "trace_", "debug_"];
    if STANDARD.contains(&method) {
        1
    } else if TRANSACTION.contains(&method) {
        10
    } else if HEAVY.iter().any(|start| method.starts_with(start)) {
        5
    } else {
        default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_others_are_read() {
        serde_json::from_str::<Facts>(include_str!("price/tables.json")).unwrap();
        assert_eq!((FACTS.infura.methods.len(), FACTS.alchemy.methods.len()), (59, 70));
    }

    #[test]
    fn each_table_has_its_prices() {
        let price = |table, method| Prices::of(table).price("ethereum", method);
        for (method, nexus, infura, alchemy) in [
            ("eth_chainId", 1, 5, 0),
            ("eth_call", 1, 80, 26),
            ("eth_getBlockByNumber", 5, 80, 20),
            ("eth_getTransactionReceipt", 5, 80, 20),
            ("eth_getLogs", 5, 255, 60),
            ("eth_sendRawTransaction", 10, 80, 40),
            ("eth_estimateGas", 10, 300, 20),
            ("made_up", 1, 80, 20),
        ] {
            assert_eq!(price(Table::Nexus, method), nexus, "{method}");
            assert_eq!(price(Table::Infura, method), infura, "{method}");
            assert_eq!(price(Table::Alchemy, method), alchemy, "{method}");
        }
        assert_eq!(Prices::of(Table::Infura).price("linea", "linea_estimateGas"), 100);
    }

    #[test]
    fn a_network_s_own_price_comes_first() {
        let mut prices = Prices::of(Table::Nexus);
        prices.methods.insert("eth_call".to_owned(), 2);
        let own = BTreeMap::from([("eth_call".to_owned(), 7)]);
        prices.networks.insert("polygon".parse().unwrap(), own);
        prices.default = Some(3);
        assert_eq!(prices.price("polygon", "eth_call"), 7);
        assert_eq!(prices.price("ethereum", "eth_call"), 2);
        assert_eq!(prices.price("polygon", "eth_chainId"), 1);
        assert_eq!(prices.price("polygon", "made_up"), 3);
    }

    /// Once the default was also what `nexus` took for its own standard methods.
    #[test]
    fn the_default_is_for_methods_that_stand_nowhere() {
        let price = |table, method| Prices { default: Some(7777), ..Prices::of(table) }.price("ethereum", method);
        for table in Table::ALL {
            assert_eq!(price(table, "made_up"), 7777, "{table:?}");
            assert_ne!(price(table, "eth_chainId"), 7777, "{table:?}");
        }
        // Nexus has a price of its own for every method of Ethereum's that others price and that may be called.
        let named = FACTS.infura.methods.keys().chain(FACTS.alchemy.methods.keys());
        let ethereum = named.filter(|name| ["eth_", "net_", "web3_"].iter().any(|space| name.starts_with(space)));
        for method in ethereum.filter(|name| crate::gate::method::is_allowed(name, [])) {
            assert_ne!(price(Table::Nexus, method), 7777, "{method}");
        }
    }

    #[test]
    fn what_stands_in_a_table_has_a_name_in_reports() {
        let mut prices = Prices::of(Table::Nexus);
        prices.methods.insert("own_method".to_owned(), 2);
        for method in STANDARD.into_iter().chain(["eth_getLogs", "eth_simulateV1", "linea_estimateGas", "own_method"]) {
            assert!(prices.knows(method), "{method}");
        }
        assert!(!prices.knows("made_up") && !prices.knows("eth_getBlockMadeUp"));
    }
}
