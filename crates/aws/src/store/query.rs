//! Rows of one partition, page by page.

use std::collections::HashMap;

use nodeweir_store::StoreError;

use super::{DynamoStore, Row, text};

/// Which rows.
#[derive(Debug, Clone)]
pub(super) struct Query<'a> {
    table: &'a str,
    index: Option<&'a str>,
    condition: String,
    names: HashMap<String, String>,
    values: Row,
    newest_first: bool,
}

impl<'a> Query<'a> {
    /// Those of a partition, in the order of their sort key. Read consistently, unless it is of an index.
    pub(super) fn new(table: &'a str, partition: &str, value: &str) -> Self {
        Self {
            table,
            index: None,
            condition: "#partition = :partition".to_owned(),
            names: HashMap::from([("#partition".to_owned(), partition.to_owned())]),
            values: HashMap::from([(":partition".to_owned(), text(value))]),
            newest_first: false,
        }
    }

    /// Of an index, which may lag behind the table.
    pub(super) fn of_index(self, index: &'a str) -> Self {
        Self { index: Some(index), ..self }
    }

    /// In the other order.
    pub(super) fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }

    /// Of these, those whose sort key is at most this.
    pub(super) fn up_to(self, sort: &str, last: &str) -> Self {
        self.narrowed("#sort <= :last", sort, &[(":last", last)])
    }

    /// Of these, those whose sort key begins so.
    pub(super) fn starting(self, sort: &str, start: &str) -> Self {
        self.narrowed("begins_with(#sort, :start)", sort, &[(":start", start)])
    }

    /// Of these, those whose sort key is one of both or between them. The first must not be greater.
    pub(super) fn between(self, sort: &str, first: &str, last: &str) -> Self {
        self.narrowed("#sort BETWEEN :first AND :last", sort, &[(":first", first), (":last", last)])
    }

    fn narrowed(mut self, condition: &str, sort: &str, values: &[(&str, &str)]) -> Self {
        self.condition = format!("{} AND {condition}", self.condition);
        self.names.insert("#sort".to_owned(), sort.to_owned());
        self.values.extend(values.iter().map(|(name, value)| ((*name).to_owned(), text(*value))));
        self
    }
}

impl DynamoStore {
    /// At most `most` rows.
    pub(super) async fn query(&self, asked: &Query<'_>, most: u32) -> Result<Vec<Row>, StoreError> {
        let wanted = usize::try_from(most).unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        let mut start = None;
        while rows.len() < wanted {
            let (page, next) = self.page(asked, wanted - rows.len(), start).await?;
            rows.extend(page);
            start = next;
            if start.is_none() {
                break;
            }
        }
        rows.truncate(wanted);
        Ok(rows)
    }

    /// One page of at most `most` rows from `start` on, and where the next one starts.
    pub(super) async fn page(
        &self,
        asked: &Query<'_>,
        most: usize,
        start: Option<Row>,
    ) -> Result<(Vec<Row>, Option<Row>), StoreError> {
        let query = self.client.query().table_name(asked.table).set_index_name(asked.index.map(str::to_owned));
        let query = query.consistent_read(asked.index.is_none()).scan_index_forward(!asked.newest_first);
        let query = query.key_condition_expression(&asked.condition).limit(i32::try_from(most).unwrap_or(i32::MAX));
        let query = query.set_expression_attribute_names(Some(asked.names.clone()));
        let query = query.set_expression_attribute_values(Some(asked.values.clone()));
        let page = query.set_exclusive_start_key(start).send().await;
        let page = page.map_err(|error| Self::unavailable(asked.table, &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }
}
