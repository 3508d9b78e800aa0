"""What moto's DynamoDB needs for transactions as AWS does them.

`serve.py` imports this with the first call of DynamoDB. moto copies whole tables before each transaction, to undo it, which
takes longer than a client waits when there are thousands of rows: here only the rows that it writes are copied. And moto
does a transaction again whose answer was lost, because it does not know its token.
"""

import copy

from moto.core.responses import ActionResult
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

do_on_tables = DynamoDBBackend.transact_write_items
answer = DynamoHandler.transact_write_items


def place(backend, item):
    """The rows of a partition, and the sort key in them, that one write is about; nothing if there is no such table."""
    write = next(iter(item.values()))
    table = backend.tables.get(write.get("TableName"))
    key = write.get("Key") or write.get("Item") or {}
    if table is None or table.range_key_attr is None or not {table.hash_key_attr, table.range_key_attr} <= set(key):
        return None
    return table.items[DynamoType(key[table.hash_key_attr])], DynamoType(key[table.range_key_attr])


def transact_write_items(self, transact_items):
    places = [found for found in (place(self, item) for item in transact_items) if found]
    before = [(rows, key, copy.deepcopy(rows.get(key))) for rows, key in places]
    Table.__deepcopy__ = lambda table, memo: table
    try:
        do_on_tables(self, transact_items)
    except Exception:
        for rows, key, row in before:
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        raise
    finally:
        del Table.__deepcopy__


def transact_write_items_once(self):
    done = self.dynamodb_backend.__dict__.setdefault("transactions_done", set())
    token = self.body.get("ClientRequestToken")
    if token in done:
        return ActionResult({"ConsumedCapacity": [], "ItemCollectionMetrics": {}})
    answered = answer(self)
    if token:
        done.add(token)
    return answered


DynamoDBBackend.transact_write_items = transact_write_items
DynamoHandler.transact_write_items = transact_write_items_once
