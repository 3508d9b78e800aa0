//! What `nodeweir status --json` says, read as scripts read it.

use serde_json::Value;

/// One answer of `status --json`, with its exit code.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) code: i32,
    pub(crate) value: Value,
}

impl Status {
    pub(crate) fn network(&self, name: &str) -> &Value {
        let networks = self.value["networks"].as_array().expect("networks");
        networks.iter().find(|network| network["network"] == name).expect("the network")
    }

    /// A node of the network `ethereum`; null if it is not there.
    pub(crate) fn node(&self, name: &str) -> Value {
        let nodes = self.network("ethereum")["nodes"].as_array().expect("nodes");
        nodes.iter().find(|node| node["node"] == name).cloned().unwrap_or_default()
    }

    pub(crate) fn serves(&self, name: &str) -> bool {
        self.node(name)["serves"] == "serves"
    }

    pub(crate) fn is_healthy(&self, name: &str) -> bool {
        self.node(name)["state"] == "healthy"
    }

    /// Why a node is not healthy.
    pub(crate) fn why(&self, name: &str) -> String {
        self.node(name)["why"].as_str().unwrap_or_default().to_owned()
    }

    /// The published revision's name, if it is the one that runs.
    pub(crate) fn live(&self) -> Option<&str> {
        let running = self.value["runtime"]["running"].as_str()?;
        (self.value["is_up"] == true && self.value["published"]["name"] == running).then_some(running)
    }

    pub(crate) fn problems(&self) -> Vec<&str> {
        self.value["problems"].as_array().expect("problems").iter().filter_map(Value::as_str).collect()
    }

    /// Whether a problem says `words`.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.problems().iter().any(|problem| problem.contains(words))
    }
}
