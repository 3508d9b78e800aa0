/** What the gate of a task may do: keep accounts, count usage, say that it is there. It reads projects and keys only. */
import type { Table } from 'aws-cdk-lib/aws-dynamodb';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';

/** Partition keys of the table `gate`; crates/aws/src/store/gate.rs says what is in each. */
const PROJECTS = 'project';
const KEYS = 'key#*';
const ACCOUNTS = 'accounts#*';
const LOGS = 'log#*';
const FOLDED = 'usage';
const BEATS = 'sidecar';

/** What it may do in the table `gate`, and to which partitions. A write of a transaction is allowed as if it were alone. */
const IN_GATE: [action: string, partitions: string[]][] = [
  ['GetItem', [PROJECTS, KEYS, ACCOUNTS, LOGS, FOLDED]],
  ['BatchGetItem', [PROJECTS, KEYS, ACCOUNTS]],
  ['Query', [BEATS]],
  ['PutItem', [ACCOUNTS, LOGS, FOLDED, BEATS]],
  ['PartiQLUpdate', [ACCOUNTS]],
  ['DeleteItem', [BEATS]],
];

/** Exactly what a gate does; `usage` holds nothing but what gates write. */
export function gateStatements(gate: Table, usage: Table): PolicyStatement[] {
  return [
    ...IN_GATE.map(
      ([action, partitions]) =>
        new PolicyStatement({
          actions: [`dynamodb:${action}`],
          resources: [gate.tableArn],
          conditions: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': partitions } },
        }),
    ),
    new PolicyStatement({
      actions: ['BatchWriteItem', 'Query', 'UpdateItem'].map((action) => `dynamodb:${action}`),
      resources: [usage.tableArn],
    }),
    new PolicyStatement({
      actions: ['dynamodb:Query'],
      resources: [`${gate.tableArn}/index/lapsing`, `${usage.tableArn}/index/minutes`],
    }),
  ];
}
