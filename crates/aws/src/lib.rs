//! What the flows and the commands need of AWS: DynamoDB as the store, S3 for the published object, ECS as the service
//! that runs it.
//!
//! Every client honours `AWS_ENDPOINT_URL`, so that all of it runs against an emulator too.

mod connect;
mod object;
mod packed;
mod service;
mod store;
mod value;

pub use connect::connect;
pub use object::{KEY, S3Object};
pub use service::EcsService;
pub use store::{DynamoStore, Tables};
