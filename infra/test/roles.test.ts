/** Who may do what: all of it, so that whoever adds a permission changes a line here. */
import type { Template } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';
import { template as made, type Resource, resources, templates, type Which } from './made.js';

interface Statement {
  Effect: string;
  Action: string | string[];
  Resource: unknown;
  Condition?: unknown;
}

const list = <T>(one: T | T[]): T[] => (Array.isArray(one) ? one : [one]);

/** A resource as people name it: `StoreNodes`, `StoreBucket/revision.conf`. */
function shown(resource: unknown): string {
  if (typeof resource === 'string') return resource;
  const [kind, value] = Object.entries(resource as object)[0] as [string, never];
  const short = (name: string) => name.replace(/[0-9A-F]{8}$/, '');
  switch (kind) {
    case 'Ref':
      return short(value);
    case 'Fn::GetAtt':
      return short(value[0]) + (value[1] === 'Arn' ? '' : `.${value[1]}`);
    case 'Fn::Join':
      return (value[1] as unknown[]).map(shown).join('');
    default:
      throw new Error(`no short form of ${JSON.stringify(resource)}`);
  }
}

/** What a role may, as `action resource`, sorted; what it may not begins with `not`. */
function allowed(template: Template, role: string): string[] {
  const policies = resources(template, 'AWS::IAM::Policy').filter(([, { Properties }]) =>
    Properties.Roles.some((one: unknown) => shown(one) === role),
  );
  return policies
    .flatMap(([, { Properties }]) => Properties.PolicyDocument.Statement as Statement[])
    .flatMap(({ Effect, Action, Resource, Condition }) =>
      list(Action).flatMap((action) =>
        list(Resource).map((resource) => {
          const not = Effect === 'Deny' ? 'not ' : '';
          return `${not}${action} ${shown(resource)}${Condition === undefined ? '' : ` if ${JSON.stringify(Condition)}`}`;
        }),
      ),
    )
    .sort();
}

const roles = (template: Template): [name: string, role: Resource][] =>
  resources(template, 'AWS::IAM::Role').map(([name, role]) => [name.replace(/[0-9A-F]{8}$/, ''), role]);

const template = templates.least();
const SECRET = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf';
const NETWORK = [
  'AssignPrivateIpAddresses',
  'CreateNetworkInterface',
  'DeleteNetworkInterface',
  'DescribeNetworkInterfaces',
  'DescribeSubnets',
  'UnassignPrivateIpAddresses',
];
const SELF =
  '{"ArnEquals":{"lambda:SourceFunctionArn":"arn:aws:lambda:eu-central-1:123456789012:function:nodeweir-dev-probe"}}';

const PUBLISHED = ['s3:GetObject StoreBucket/revision.conf', 's3:ListBucket StoreBucket'];

/** Only of rows in these partitions. */
const leading = (...partitions: string[]) =>
  JSON.stringify({
    'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': partitions },
  });

/** What every function needs to say something. */
const spoken = (flow: string) => [
  `logs:CreateLogStream Functions${flow}Logs`,
  `logs:PutLogEvents Functions${flow}Logs`,
  `sqs:SendMessage Functions${flow}DeadLetters`,
];

const schedule = (flow: string) => [
  `lambda:InvokeFunction Functions${flow}Function`,
  `sqs:SendMessage Functions${flow}DeadLetters`,
];

const may: Record<string, string[]> = {
  FunctionsProbeRole: [
    ...spoken('Probe'),
    'dynamodb:PutItem StoreNodes',
    'dynamodb:Scan StoreNodes',
    'dynamodb:DeleteItem StoreHealth',
    'dynamodb:GetItem StoreHealth',
    'dynamodb:PutItem StoreHealth',
    'dynamodb:Scan StoreHealth',
    'dynamodb:BatchWriteItem StoreHistory',
    `secretsmanager:GetSecretValue ${SECRET}`,
    ...NETWORK.map((action) => `ec2:${action} *`),
    ...NETWORK.map((action) => `not ec2:${action} * if ${SELF}`),
  ],
  FunctionsPublishRole: [
    ...spoken('Publish'),
    'dynamodb:Scan StoreNodes',
    'dynamodb:Scan StoreHealth',
    'dynamodb:BatchWriteItem StoreHistory',
    'dynamodb:DeleteItem StoreHistory',
    'dynamodb:GetItem StoreHistory',
    'dynamodb:PutItem StoreHistory',
    'dynamodb:Query StoreHistory',
    ...['StoreNodes', 'StoreHealth', 'StoreHistory'].flatMap((table) =>
      ['DescribeStream', 'GetRecords', 'GetShardIterator', 'ListStreams'].map(
        (action) => `dynamodb:${action} ${table}.StreamArn`,
      ),
    ),
    's3:GetObject StoreBucket/revision.conf',
    's3:PutObject StoreBucket/revision.conf',
    's3:ListBucket StoreBucket',
    'lambda:InvokeFunction FunctionsProbeFunction',
  ],
  FunctionsRolloutRole: [
    ...spoken('Rollout'),
    'dynamodb:BatchWriteItem StoreHistory',
    'dynamodb:GetItem StoreHistory',
    'dynamodb:PutItem StoreHistory',
    's3:GetObject StoreBucket/revision.conf',
    's3:ListBucket StoreBucket',
    'ecs:DescribeServices ProxyService',
    'ecs:UpdateService ProxyService',
  ],
  FunctionsProbeScheduleRole: schedule('Probe'),
  FunctionsPublishScheduleRole: schedule('Publish'),
  FunctionsRolloutScheduleRole: schedule('Rollout'),
  ProxyTaskTaskRole: [
    ...PUBLISHED,
    `dynamodb:GetItem StoreGate if ${leading('project', 'key#*', 'accounts#*', 'log#*', 'usage')}`,
    `dynamodb:BatchGetItem StoreGate if ${leading('project', 'key#*', 'accounts#*')}`,
    `dynamodb:Query StoreGate if ${leading('sidecar')}`,
    `dynamodb:PutItem StoreGate if ${leading('accounts#*', 'log#*', 'usage', 'sidecar')}`,
    `dynamodb:PartiQLUpdate StoreGate if ${leading('accounts#*')}`,
    `dynamodb:DeleteItem StoreGate if ${leading('sidecar')}`,
    'dynamodb:Query StoreGate/index/lapsing',
    'dynamodb:BatchWriteItem StoreUsage',
    'dynamodb:Query StoreUsage',
    'dynamodb:UpdateItem StoreUsage',
    'dynamodb:Query StoreUsage/index/minutes',
  ],
  ProxyTaskExecutionRole: [
    'logs:CreateLogStream ProxyLogs',
    'logs:PutLogEvents ProxyLogs',
    `secretsmanager:DescribeSecret ${SECRET}`,
    `secretsmanager:GetSecretValue ${SECRET}`,
    'ecr:BatchCheckLayerAvailability arn:aws:ecr:eu-central-1:123456789012:repository/jsonrpc-proxy',
    'ecr:BatchGetImage arn:aws:ecr:eu-central-1:123456789012:repository/jsonrpc-proxy',
    'ecr:GetDownloadUrlForLayer arn:aws:ecr:eu-central-1:123456789012:repository/jsonrpc-proxy',
    'ecr:GetAuthorizationToken *',
  ],
};

test('there are these roles and no others', () => {
  expect(
    roles(template)
      .map(([name]) => name)
      .sort(),
  ).toEqual(Object.keys(may).sort());
});

test.each(Object.entries(may))('%s may just what it must', (role, expected) => {
  expect(allowed(template, role)).toEqual([...expected].sort());
});

describe.each(['least', 'full'] as Which[])('%s', (which) => {
  const template = templates[which]();

  test.each(roles(template).map(([name]) => name))('%s may no action by wildcard', (role) => {
    const actions = allowed(template, role).map((line) => line.replace(/^not /, '').split(' ')[0]);
    expect(actions).not.toHaveLength(0);
    for (const action of actions) expect(action).toMatch(/^[a-z0-9]+:[A-Za-z]+$/);
  });

  test('no resource by wildcard but what AWS has no name for', () => {
    const wild = roles(template)
      .flatMap(([role]) => allowed(template, role).map((line) => `${role} ${line}`))
      .filter((line) => /^[^ ]+ [^ ]+ [^ ]*\*/.test(line) && !line.includes(' not '))
      .map((line) => line.replace(/ ec2:[A-Za-z]+ /, ' ec2 '));
    expect([...new Set(wild)]).toEqual([
      'ProxyTaskExecutionRole ecr:GetAuthorizationToken *',
      'FunctionsProbeRole ec2 *',
    ]);
  });

  test.each(roles(template))('%s has nothing but its own policy', (_, role) => {
    expect(role.Properties.ManagedPolicyArns).toBeUndefined();
    expect(role.Properties.Policies).toBeUndefined();
    expect(role.Properties.AssumeRolePolicyDocument.Statement).toHaveLength(1);
  });
});

test('schedules cannot be made by others for these roles', () => {
  const [, role] = roles(template).find(([name]) => name === 'FunctionsProbeScheduleRole') ?? [];
  expect(role?.Properties.AssumeRolePolicyDocument.Statement[0].Condition).toEqual({
    StringEquals: {
      'aws:SourceAccount': '123456789012',
      'aws:SourceArn': 'arn:aws:scheduler:eu-central-1:123456789012:schedule-group/default',
    },
  });
});

test('probe may read the secrets that are named, and no others', () => {
  const secretsOf = (template: Template) =>
    allowed(template, 'FunctionsProbeRole').filter((line) => line.startsWith('secretsmanager'));
  expect(secretsOf(templates.full())).toEqual([
    `secretsmanager:GetSecretValue ${SECRET}`,
    'secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-central-1:123456789012:secret:rpc/other-GhIjKl',
  ]);
  const none = made({
    edits: [
      ['secrets:\n  INFURA_KEY:\n    hosts: [mainnet.infura.io]\n', ''],
      [`  secrets:\n    INFURA_KEY: ${SECRET}\n`, ''],
    ],
  });
  expect(secretsOf(none)).toEqual([]);
});

test('a task without a gate may look at what is published, and no more', () => {
  const ungated = made({ edits: [['networks:', 'gate: { enabled: false }\nnetworks:']] });
  expect(allowed(ungated, 'ProxyTaskTaskRole')).toEqual(PUBLISHED);
});

test('an image that is not in a registry of AWS needs no permission', () => {
  const image = '123456789012.dkr.ecr.eu-central-1.amazonaws.com/jsonrpc-proxy:0.1.0';
  const elsewhere = made({ edits: [[image, 'registry.example.com/jsonrpc-proxy:0.1.0']] });
  expect(allowed(elsewhere, 'ProxyTaskExecutionRole').filter((line) => line.startsWith('ecr'))).toEqual([]);
});
