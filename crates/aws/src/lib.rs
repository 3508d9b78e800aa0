//! What the flows and the commands need of AWS: DynamoDB as the store, S3 for the published object, ECS as the service
//! that runs it.
//!
//! Every client honours `AWS_ENDPOINT_URL`, so that all of it runs against an emulator too.

mod connect;
mod function;
pub mod metrics;
mod object;
mod packed;
mod secrets;
mod service;
mod stack;
mod store;
mod value;

pub use connect::connect;
pub use function::ProbeFunction;
pub use object::{KEY, S3Object};
pub use secrets::read_secrets;
pub use service::EcsService;
pub use stack::{Stack, stack_name};
pub use store::{DynamoStore, Tables};
