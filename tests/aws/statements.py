"""What moto's DynamoDB needs for conditional writes in a batch of statements as AWS does them.

`serve.py` imports this with the first call of DynamoDB. moto takes an UPDATE whose condition does not hold for one that has
nothing to do. AWS says of each such statement that its condition failed and, if asked, what stands there instead
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html). Only the one form of statement
is done here that the store sends, all others by moto.
"""

import re

from moto.core.responses import ActionResult
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler

# Statements that one call may have.
MOST = 25

UPDATE = re.compile(r'UPDATE "([^"]+)"((?: SET "[^"]+"=\?)+) WHERE ("[^"]+"=\?(?: AND "[^"]+"=\?)*)')
NAME = re.compile(r'"([^"]+)"=\?')

do_all = DynamoDBBackend.batch_execute_statement


def update(backend, statement, parts):
    table, sets, condition = parts.groups()
    if table not in backend.tables:
        return {"Error": {"Code": "ResourceNotFound", "Message": "Requested resource not found"}}
    values = iter(statement["Parameters"])
    change = {name: next(values) for name in NAME.findall(sets)}
    expected = {name: next(values) for name in NAME.findall(condition)}
    keys = backend.tables[table].table_key_attrs
    if not set(keys) <= set(expected):
        raise MockValidationException("Where clause does not contain a mandatory equality on all key attributes")
    item = backend.get_item(table, {name: expected[name] for name in keys})
    row = item.to_json()["Attributes"] if item else None
    if row is None or any(row.get(name) != value for name, value in expected.items()):
        error = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
        if row is not None and statement.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            error["Item"] = row
        return {"Error": error, "TableName": table}
    backend.put_item(table, {**row, **change})
    return {"TableName": table}


def batch_execute_statement(self, statements):
    if not 1 <= len(statements) <= MOST:
        raise MockValidationException(f"A batch has 1 to {MOST} statements, not {len(statements)}")
    answers = []
    for statement in statements:
        parts = UPDATE.fullmatch(statement["Statement"])
        answers += [update(self, statement, parts)] if parts else do_all(self, [statement])
    return answers


def answer(self):
    return ActionResult({"Responses": self.dynamodb_backend.batch_execute_statement(self.body.get("Statements", []))})


DynamoDBBackend.batch_execute_statement = batch_execute_statement
DynamoHandler.batch_execute_statement = answer
