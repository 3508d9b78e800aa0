//! Conditional writes of many rows in one call, each by itself: as statements of `PartiQL`, since nothing else in DynamoDB
//! does it. A transaction would cost twice as much, and one row that others write at the moment would hold up all.

use aws_sdk_dynamodb::types::builders::BatchStatementRequestBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, ReturnValuesOnConditionCheckFailure,
};
use nodeweir_store::{Each, StoreError};

use super::{DynamoStore, Place, Row, busy};

/// Statements that one call may have.
const STATEMENTS: usize = 25;

/// A write that is not sent yet.
pub(super) type Statement = BatchStatementRequestBuilder;

/// What a conditional write of a row that was there came to.
#[derive(Debug, Clone)]
pub(super) enum Replaced {
    Done,
    /// This stands there instead; nothing, if it is gone.
    Differs(Option<Row>),
}

/// Writes these attributes of a row that is there, if its `value` is still `before`.
pub(super) fn replace(place: Place<'_>, before: &AttributeValue, set: &[(&str, AttributeValue)]) -> Statement {
    let sets: Vec<String> = set.iter().map(|(name, _)| format!("SET \"{name}\"=?")).collect();
    let [(partition, _), (sort, _)] = place.keys;
    let text = format!(
        "UPDATE \"{}\" {} WHERE \"{partition}\"=? AND \"{sort}\"=? AND \"value\"=?",
        place.table,
        sets.join(" ")
    );
    let keys = place.keys.map(|(_, value)| AttributeValue::S(value.to_owned()));
    let values = set.iter().map(|(_, value)| value.clone()).chain(keys).chain([before.clone()]);
    BatchStatementRequest::builder()
        .statement(text)
        .set_parameters(Some(values.collect()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

impl DynamoStore {
    /// Does each of these writes by itself.
    pub(super) async fn replace_each(&self, table: &str, statements: Vec<Statement>) -> Each<Replaced> {
        let mut each = Vec::with_capacity(statements.len());
        for batch in statements.chunks(STATEMENTS) {
            // Each has its text, which is all that it must have.
            let batch: Vec<_> = batch.iter().filter_map(|statement| statement.clone().build().ok()).collect();
            let send = self.client.batch_execute_statement().set_statements(Some(batch.clone())).send().await;
            let answers = match send {
                Ok(sent) => sent.responses.unwrap_or_default(),
                Err(error) => {
                    let failed = Self::unavailable(table, &error);
                    each.extend(batch.iter().map(|_| Err(failed.clone())));
                    continue;
                }
            };
            let mut answers = answers.into_iter();
            each.extend(batch.iter().map(|_| match answers.next().map(|answer| answer.error) {
                Some(None) => Ok(Replaced::Done),
                Some(Some(error)) if error.code == Some(Code::ConditionalCheckFailed) => {
                    Ok(Replaced::Differs(error.item.filter(|item| !item.is_empty())))
                }
                Some(Some(error)) => Err(refused(table, error.code.as_ref(), error.message.as_deref())),
                None => Err(busy(table, "it did not answer for each write")),
            }));
        }
        each
    }
}

fn refused(table: &str, code: Option<&Code>, message: Option<&str>) -> StoreError {
    let code = code.map_or("no code", Code::as_str);
    busy(table, &format!("{code}: {}", message.unwrap_or("it does not say why")))
}
