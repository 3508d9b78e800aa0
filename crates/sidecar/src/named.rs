//! What a request called, as the access log has it.

use nodeweir_domain::gate::price::Prices;
use nodeweir_domain::gate::request::{Call, Member};

/// Methods that one request's line names; the rest of a batch counts as [`OTHER`].
const MOST: usize = 16;

/// What methods are called that nobody knows, because clients can invent any number of them.
const OTHER: &str = "other";

struct Named<'a> {
    /// The first of this name.
    method: &'a str,
    /// What that one costs.
    price: u64,
    name: &'a str,
    calls: u64,
    credits: u64,
}

/// `method:calls:credits`, with commas between them, of a request that passes.
pub(crate) fn methods(call: &Call<'_>, network: &str, prices: &Prices) -> String {
    named(call, prices, |member| prices.price(network, member.method.as_ref()))
}

/// The same of one that is refused, and costs nothing.
pub(crate) fn refused(call: &Call<'_>, prices: &Prices) -> String {
    named(call, prices, |_| 0)
}

fn named(call: &Call<'_>, prices: &Prices, one: impl Fn(&Member<'_>) -> u64) -> String {
    if let [member] = call.members() {
        return text(&[Named::of(member, one(member), prices)]);
    }
    let mut named: Vec<Named<'_>> = Vec::with_capacity(MOST.min(call.members().len()));
    for member in call.members() {
        // Most batches call one method many times.
        let (new, at) = match named.iter().position(|named| named.method == member.method.as_ref()) {
            Some(at) => (Named { calls: 1, credits: named[at].price, ..named[at] }, Some(at)),
            None => {
                let mut new = Named::of(member, one(member), prices);
                if named.len() == MOST {
                    new.name = OTHER;
                }
                let at = named.iter().position(|named| named.name == new.name);
                (new, at)
            }
        };
        match at {
            Some(at) => named[at].add(&new),
            None if named.len() < MOST => named.push(new),
            None => {
                // The last one gives up its name.
                if let Some(last) = named.last_mut() {
                    last.add(&new);
                    (last.method, last.name) = ("", OTHER);
                }
            }
        }
    }
    text(&named)
}

impl<'a> Named<'a> {
    fn of(member: &'a Member<'_>, price: u64, prices: &Prices) -> Self {
        let method = member.method.as_ref();
        let name = if prices.knows(method) { method } else { OTHER };
        Self { method, price, name, calls: 1, credits: price }
    }

    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.credits = self.credits.saturating_add(other.credits);
    }
}

fn text(named: &[Named<'_>]) -> String {
    let mut text = String::with_capacity(named.iter().map(|named| named.name.len() + 16).sum());
    for Named { name, calls, credits, .. } in named {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        for number in [calls, credits] {
            text.push(':');
            text.push_str(itoa::Buffer::new().format(*number));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use nodeweir_domain::gate::price::Table;
    use nodeweir_domain::gate::request::{Limits, read};

    use super::*;

    fn read_as(called: &[&str], with: fn(&Call<'_>, &Prices) -> String) -> String {
        let of = |method: &&str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let members: Vec<String> = called.iter().map(of).collect();
        let body = match members.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(",")),
        };
        let call = read(body.as_bytes(), &Limits { batch: 100, depth: 8 }).unwrap();
        with(&call, &Prices::of(Table::Nexus))
    }

    fn named(called: &[&str]) -> String {
        read_as(called, |call, prices| methods(call, "ethereum", prices))
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        assert_eq!(read_as(&["eth_getLogs", "eth_call", "eth_getLogs"], refused), "eth_getLogs:2:0,eth_call:1:0");
    }

    #[test]
    fn calls_of_one_method_are_summed_in_the_order_of_the_first() {
        assert_eq!(named(&["eth_call"]), "eth_call:1:1");
        assert_eq!(named(&["eth_getLogs", "eth_call", "eth_getLogs"]), "eth_getLogs:2:10,eth_call:1:1");
    }

    #[test]
    fn what_nobody_knows_is_one_thing() {
        assert_eq!(named(&["made_up"]), "other:1:1");
        assert_eq!(named(&["made_up", "eth_call", "trace_made_up", "made_up"]), "other:3:7,eth_call:1:1");
    }

    #[test]
    fn the_rest_of_many_methods_is_other() {
        let known = [
            "eth_accounts",
            "eth_blockNumber",
            "eth_call",
            "eth_chainId",
            "eth_estimateGas",
            "eth_feeHistory",
            "eth_gasPrice",
            "eth_getBalance",
            "eth_getBlockByHash",
            "eth_getBlockByNumber",
            "eth_getCode",
            "eth_getLogs",
            "eth_getProof",
            "eth_getStorageAt",
            "eth_getTransactionByHash",
            "eth_getTransactionCount",
            "eth_getTransactionReceipt",
            "eth_getTransactionReceipt",
            "eth_getTransactionCount",
            "eth_call",
        ];
        assert!(!named(&known[..16]).contains(OTHER));
        let all = named(&known);
        assert_eq!(all.split(',').count(), MOST);
        assert!(all.contains("eth_call:2:2,") && all.ends_with(",other:4:20"), "{all}");
    }
}
