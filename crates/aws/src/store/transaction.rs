//! Several rows written together or not at all, each under a condition of its own.
//!
//! A transaction costs twice what its writes cost alone. One that meets another about the same row is refused by
//! DynamoDB, not queued, and so is one that is too much at the moment; both are sent again here, after pauses of chance
//! length, because those who met once would meet again. Each sending has a token, which the SDK makes: when it tries again
//! because an answer was lost, DynamoDB knows what it has done and says so once more. A *caller* who tries again has
//! another token and is told by the conditions.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use nodeweir_store::StoreError;

use super::{DynamoStore, Expression, Place, Row, busy};
use crate::connect::why;

/// How often a transaction that meets others is sent again.
const TRIES: u32 = 7;
/// The longest first pause; each next one may be twice as long, so that all of them are 3 s at most and half of that in
/// most cases.
const PAUSE: Duration = Duration::from_millis(25);

/// Reasons that are none a moment later.
const PASSING: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];

/// What a transaction came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All is written.
    Done,
    /// Nothing is: the conditions of the writes with these numbers do not hold.
    Refused(Vec<usize>),
    /// Nothing is, and never will be: a row there does not take such a write, as DynamoDB says.
    Impossible(String),
}

/// Writes a whole row.
pub(super) fn put(place: Place<'_>, row: Row, condition: Expression) -> TransactWriteItem {
    let Expression { text, names, values } = condition;
    let put = Put::builder().table_name(place.table).set_item(Some(row)).condition_expression(text);
    let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
    // It fails only without a table or an item; so do the others.
    TransactWriteItem::builder().set_put(put.build().ok()).build()
}

/// Removes a row.
pub(super) fn delete(place: Place<'_>, condition: Expression) -> TransactWriteItem {
    let Expression { text, names, values } = condition;
    let gone = Delete::builder().table_name(place.table).set_key(Some(place.key())).condition_expression(text);
    let gone = gone.set_expression_attribute_names(names).set_expression_attribute_values(values);
    TransactWriteItem::builder().set_delete(gone.build().ok()).build()
}

/// Changes a row whatever it holds, or makes it.
pub(super) fn update(place: Place<'_>, change: Expression) -> TransactWriteItem {
    let Expression { text, names, values } = change;
    let update = Update::builder().table_name(place.table).set_key(Some(place.key())).update_expression(text);
    let update = update.set_expression_attribute_names(names).set_expression_attribute_values(values);
    TransactWriteItem::builder().set_update(update.build().ok()).build()
}

impl DynamoStore {
    /// Does all of these writes or none. At most 100, each about another row.
    pub(super) async fn transact(&self, table: &str, writes: Vec<TransactWriteItem>) -> Result<Outcome, StoreError> {
        for attempt in 0..=TRIES {
            if attempt > 0 {
                let longest = PAUSE.as_millis() << (attempt - 1);
                let pause = fastrand::u64(..=u64::try_from(longest).unwrap_or(u64::MAX));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let sent = self.client.transact_write_items().set_transact_items(Some(writes.clone())).send().await;
            match sent {
                Ok(_) => return Ok(Outcome::Done),
                Err(error) => match refusal(&error) {
                    Some(Refusal::Outcome(outcome)) => return Ok(outcome),
                    Some(Refusal::Busy) => {}
                    None => return Err(Self::unavailable(table, &error)),
                },
            }
        }
        Err(busy(table, "others write the same rows all the time"))
    }
}

enum Refusal {
    /// For good.
    Outcome(Outcome),
    /// For now.
    Busy,
}

/// What DynamoDB says of a transaction that it did not do; `None` if it is not known whether it did it.
fn refusal<R: std::fmt::Debug>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Refusal> {
    let said = error.as_service_error()?;
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = said else {
        // It does not look at a row before it has understood all, but what stands in a row it finds out here as well.
        let is_invalid = said.code() == Some("ValidationException");
        return is_invalid.then(|| Refusal::Outcome(Outcome::Impossible(why(error))));
    };
    let reasons = cancelled.cancellation_reasons();
    let failed = reasons.iter().enumerate().filter(|(_, reason)| is_code(reason, "ConditionalCheckFailed"));
    let failed: Vec<usize> = failed.map(|(index, _)| index).collect();
    if !failed.is_empty() {
        return Some(Refusal::Outcome(Outcome::Refused(failed)));
    }
    if let Some(invalid) = reasons.iter().find(|reason| is_code(reason, "ValidationError")) {
        let why = invalid.message().unwrap_or("DynamoDB does not say why").to_owned();
        return Some(Refusal::Outcome(Outcome::Impossible(why)));
    }
    PASSING.into_iter().any(|code| reasons.iter().any(|reason| is_code(reason, code))).then_some(Refusal::Busy)
}

fn is_code(reason: &aws_sdk_dynamodb::types::CancellationReason, code: &str) -> bool {
    reason.code() == Some(code)
}
