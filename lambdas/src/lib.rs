//! The functions on AWS: thin programs over the flows of the local one.
//!
//! Each reads its settings and makes its clients once per cold start, and then runs one flow at each event. Events only
//! say that it is time to look; what is to be done is found in the tables, the bucket and the service. So an event that
//! comes twice, late or out of order changes nothing, and one that is lost is made up for by the schedule.

mod error;
mod events;
mod probe;
mod publish;
mod rollout;
mod runtime;
mod settings;

pub use probe::Probe;
pub use publish::Publish;
pub use rollout::Rollout;
pub use runtime::serve;
