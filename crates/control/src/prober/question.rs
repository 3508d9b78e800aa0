//! One question and its answer.

use nodeweir_domain::fleet::node::SecretName;
use nodeweir_domain::fleet::probe::{Failure, MAX_ANSWER, read_quantity, read_status};

use super::failure::classify;

/// Asks one node.
pub(super) struct Questions {
    pub(super) client: reqwest::Client,
    /// With the values of secrets.
    pub(super) url: String,
    pub(super) host: String,
    /// The secrets in `url`.
    pub(super) values: Vec<(SecretName, String)>,
}

impl Questions {
    /// Asks for a quantity, with no parameters. The connection ends with the last question: kept for the next tick, it
    /// would be stale by then, and those of thousands of nodes would be more than a process may have.
    pub(super) async fn ask(&self, method: &str, id: u64, is_last: bool) -> Result<u64, Failure> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":[]}}"#);
        let request = self.client.post(&self.url).header("host", &self.host).header("content-type", "application/json");
        let request = if is_last { request.header("connection", "close") } else { request };
        let mut response = request.body(body).send().await.map_err(classify)?;
        read_status(response.status().as_u16())?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(classify)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::TooLarge);
            }
            answer.extend_from_slice(&chunk);
        }
        read_quantity(&answer, id, &self.values)
    }
}
