/** Where state lives: five tables, and the bucket with the published configuration. */
import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import {
  AttributeType,
  BillingMode,
  ProjectionType,
  StreamViewType,
  Table,
  TableEncryption,
} from 'aws-cdk-lib/aws-dynamodb';
import { BlockPublicAccess, Bucket, BucketEncryption, type CfnBucket, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { overlook } from './rules.js';

interface Keys {
  partition: string;
  sort: string;
  /** The attribute after whose time an item goes by itself. */
  expires?: string;
}

/** All of it outlives the stack: nodes, projects and keys are people's work, and history tells what happened before. */
export class Store extends Construct {
  /** The node list: written by people. */
  readonly nodes: Table;
  /** What `probe` concluded: items `status#<node>`, and `seen` of each tick. */
  readonly health: Table;
  /** Revisions, events, pins and rollouts. Items with `expires` go by themselves. */
  readonly history: Table;
  /** Projects, keys, accounts, how far logs were counted; which accounts have leases is found by its index. */
  readonly gate: Table;
  /** What was used by the minute and by the day; which days have minutes is found by its index. */
  readonly usage: Table;
  readonly bucket: Bucket;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    // `publish` follows the first three.
    const stream = StreamViewType.NEW_AND_OLD_IMAGES;
    this.nodes = this.table('Nodes', { partition: 'network', sort: 'node' }, stream);
    this.health = this.table('Health', { partition: 'network', sort: 'item' }, stream);
    this.history = this.table('History', { partition: 'kind', sort: 'id', expires: 'expires' }, stream);
    this.gate = this.table('Gate', { partition: 'kind', sort: 'id', expires: 'expires' });
    index(this.gate, 'lapsing', { partition: 'lapsing', sort: 'lapses' });
    this.usage = this.table('Usage', { partition: 'project', sort: 'row', expires: 'expires' });
    index(this.usage, 'minutes', { partition: 'minutes', sort: 'row' });

    this.bucket = new Bucket(this, 'Bucket', {
      versioned: true,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      removalPolicy: RemovalPolicy.RETAIN,
      lifecycleRules: [
        {
          id: 'old-versions',
          // A flapping node publishes often. The history table keeps every revision; this is for looking at bytes.
          noncurrentVersionExpiration: Duration.days(30),
          abortIncompleteMultipartUploadAfter: Duration.days(1),
        },
      ],
    });
    // The construct's own switch would add a function of its own, with a role that may change any bucket.
    (this.bucket.node.defaultChild as CfnBucket).notificationConfiguration = {
      eventBridgeConfiguration: { eventBridgeEnabled: true },
    };
    overlook(
      this.bucket,
      'AwsSolutions-S1',
      'It holds one object, whose versions and the history table tell who wrote what; few would read a log.',
    );
  }

  private table(id: string, { partition, sort, expires }: Keys, stream?: StreamViewType): Table {
    return new Table(this, id, {
      partitionKey: { name: partition, type: AttributeType.STRING },
      sortKey: { name: sort, type: AttributeType.STRING },
      ...(expires === undefined ? {} : { timeToLiveAttribute: expires }),
      billingMode: BillingMode.PAY_PER_REQUEST,
      // With AWS's key: it shows in CloudTrail, and costs cents.
      encryption: TableEncryption.AWS_MANAGED,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      ...(stream === undefined ? {} : { stream }),
      deletionProtection: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }
}

/** An index of keys only: what it finds is read from the table. */
function index(table: Table, indexName: string, { partition, sort }: Keys): void {
  table.addGlobalSecondaryIndex({
    indexName,
    partitionKey: { name: partition, type: AttributeType.STRING },
    sortKey: { name: sort, type: AttributeType.STRING },
    projectionType: ProjectionType.KEYS_ONLY,
  });
}
