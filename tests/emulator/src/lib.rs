//! AWS on this machine, for tests: [`Moto`] answers as AWS does, a [`Proxy`] in front of it counts calls and makes them
//! fail, and a [`Function`] runs a Lambda program as Lambda would.
//!
//! ```no_run
//! # async fn example() {
//! use nodeweir_emulator::{Fault, Moto, On, Proxy};
//!
//! let aws = Proxy::start(Moto::shared());
//! // ... make a client of the official SDK with the endpoint `aws.url()`, in any region, with any credentials
//! aws.fault(On::call("dynamodb", "PutItem").nth(2), Fault::Lost);
//! // ... what is tested
//! assert_eq!(aws.count(&On::call("dynamodb", "PutItem")), 3);
//! # }
//! ```
//!
//! Everything here runs beside the test, in threads of its own, so a test may block. Nothing outlives the test's process.
//! What cannot be set up ends the test with a message: there is nobody else to tell.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test whose world cannot be set up has failed"
)]

mod background;
mod client;
pub mod events;
mod lambda;
mod moto;
mod proxy;
mod stream;

pub use client::{Client, Reply};
pub use lambda::{Function, FunctionError, Quota, Setting};
pub use moto::Moto;
pub use proxy::{Answer, Call, Fault, Held, On, Permission, Proxy};
pub use stream::Stream;
