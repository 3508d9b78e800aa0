import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';
import { resource, resources, templates } from './made.js';

const template = templates.least();
const tables = resources(template, 'AWS::DynamoDB::Table');

describe('tables', () => {
  test('have the keys that the programs use', () => {
    const keys = tables.map(([name, { Properties }]) => [
      name.replace(/[0-9A-F]{8}$/, ''),
      Properties.KeySchema.map((key: { AttributeName: string }) => key.AttributeName),
      Properties.TimeToLiveSpecification,
    ]);
    expect(keys).toEqual([
      ['StoreNodes', ['network', 'node'], undefined],
      ['StoreHealth', ['network', 'item'], undefined],
      ['StoreHistory', ['kind', 'id'], { AttributeName: 'expires', Enabled: true }],
      ['StoreGate', ['kind', 'id'], { AttributeName: 'expires', Enabled: true }],
      ['StoreUsage', ['project', 'row'], { AttributeName: 'expires', Enabled: true }],
    ]);
    for (const [, { Properties }] of tables) {
      const types = Properties.AttributeDefinitions.map((one: { AttributeType: string }) => one.AttributeType);
      expect(new Set(types)).toEqual(new Set(['S']));
    }
  });

  test('have the indexes that the programs use', () => {
    const indexes = tables.map(([, { Properties }]) => Properties.GlobalSecondaryIndexes);
    const index = (name: string, partition: string, sort: string) => [
      {
        IndexName: name,
        KeySchema: [
          { AttributeName: partition, KeyType: 'HASH' },
          { AttributeName: sort, KeyType: 'RANGE' },
        ],
        Projection: { ProjectionType: 'KEYS_ONLY' },
      },
    ];
    const none = undefined;
    const [gate, usage] = [index('lapsing', 'lapsing', 'lapses'), index('minutes', 'minutes', 'row')];
    expect(indexes).toEqual([none, none, none, gate, usage]);
  });

  test('are followed where a change is to be published', () => {
    const streams = tables.map(([, { Properties }]) => Properties.StreamSpecification?.StreamViewType);
    expect(streams).toEqual([...Array(3).fill('NEW_AND_OLD_IMAGES'), undefined, undefined]);
  });

  test.each(tables)('%s is paid by use, recoverable, encrypted and kept', (_, table) => {
    expect(table).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        BillingMode: 'PAY_PER_REQUEST',
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        SSESpecification: { SSEEnabled: true },
        DeletionProtectionEnabled: true,
      },
    });
    // A name of its own could not be had again after a restore.
    expect(table.Properties.TableName).toBeUndefined();
  });
});

describe('bucket', () => {
  test('is private, versioned, encrypted, kept, and tells EventBridge', () => {
    expect(resource(template, 'AWS::S3::Bucket')).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        VersioningConfiguration: { Status: 'Enabled' },
        BucketEncryption: { ServerSideEncryptionConfiguration: [expect.anything()] },
        OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        NotificationConfiguration: { EventBridgeConfiguration: { EventBridgeEnabled: true } },
      },
    });
  });

  test('forgets old versions, never the newest', () => {
    const { Rules } = resource(template, 'AWS::S3::Bucket').Properties.LifecycleConfiguration;
    expect(Rules).toEqual([
      {
        Id: 'old-versions',
        Status: 'Enabled',
        NoncurrentVersionExpiration: { NoncurrentDays: 30 },
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
      },
    ]);
  });

  test('speaks TLS only', () => {
    template.hasResourceProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({ Effect: 'Deny', Action: 's3:*', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
        ]),
      },
    });
  });

  test('is written by the function that publishes, and by nobody else who may write to any bucket', () => {
    const policy = resource(template, 'AWS::S3::BucketPolicy', 'Store').Properties.PolicyDocument;
    const [statement, ...others] = policy.Statement.filter(({ Sid }: { Sid?: string }) => Sid === 'OnlyPublishWrites');
    expect(others).toEqual([]);
    expect(statement).toMatchObject({ Effect: 'Deny', Principal: { AWS: '*' }, Action: 's3:PutObject' });
    expect(JSON.stringify(statement.Resource)).toContain('/revision.conf');
    const [role] =
      resources(template, 'AWS::IAM::Role').find(([name]) => name.startsWith('FunctionsPublishRole')) ?? [];
    expect(statement.Condition).toEqual({ ArnNotEquals: { 'aws:PrincipalArn': { 'Fn::GetAtt': [role, 'Arn'] } } });
  });

  test('is written by nothing that a deployment brings', () => {
    // The functions' packages go to the bucket of the CDK; a custom resource could put an object here.
    const types = Object.values(template.toJSON().Resources).map((one) => (one as { Type: string }).Type);
    expect(types.filter((type) => type.startsWith('Custom::') || type.includes('CustomResource'))).toEqual([]);
    expect(resources(template, 'AWS::Lambda::Function')).toHaveLength(3);
  });
});
