//! What arrived at an address.

use std::time::{Duration, Instant};

use serde_json::Value;

/// The requests of one scenario, in the order in which they came.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen(Vec<(Instant, Value)>);

impl Seen {
    pub(crate) fn note(&mut self, asked: Value) {
        self.0.push((Instant::now(), asked));
    }

    /// HTTP requests.
    pub(crate) fn requests(&self) -> usize {
        self.0.len()
    }

    /// Since the first one.
    pub(crate) fn age(&self) -> Duration {
        self.0.first().map_or(Duration::ZERO, |(at, _)| at.elapsed())
    }

    /// How often the same call was sent, at most. A batch's members may be sent again in several batches, if the library
    /// repeats each by itself; so requests are no measure.
    pub(crate) fn attempts(&self) -> usize {
        let calls: Vec<_> = self.0.iter().flat_map(|(_, asked)| members(asked)).map(call).collect();
        calls.iter().map(|one| calls.iter().filter(|other| *other == one).count()).max().unwrap_or(0)
    }

    /// The most calls that came in one request.
    pub(crate) fn largest(&self) -> usize {
        self.0.iter().map(|(_, asked)| members(asked).len()).max().unwrap_or(0)
    }

    /// The fewest calls that came in one request.
    pub(crate) fn smallest(&self) -> usize {
        self.0.iter().map(|(_, asked)| members(asked).len()).min().unwrap_or(0)
    }

    /// The shortest time between two attempts at the first call.
    pub(crate) fn shortest_wait(&self) -> Option<Duration> {
        let first = call(members(&self.0.first()?.1).first()?);
        let same = self.0.iter().filter(|(_, asked)| members(asked).iter().any(|one| call(one) == first));
        let times: Vec<_> = same.map(|(at, _)| *at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).min()
    }
}

fn members(asked: &Value) -> &[Value] {
    asked.as_array().map_or(std::slice::from_ref(asked), Vec::as_slice)
}

/// What makes two requests the same call: their ids may differ.
fn call(request: &Value) -> (&Value, &Value) {
    (&request["method"], &request["params"])
}
