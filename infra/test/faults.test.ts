import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Faults } from '../lib/config.js';
import { configText, edited, read, readFrom, temporaryFolder, type Which } from './made.js';

/** What is said of a configuration, without the file's path. */
function faults(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    if (!(error instanceof Faults)) throw error;
    const [head = '', ...lines] = error.message.split('\n');
    expect(head).toMatch(/config\.dev\.yml (has|is)/);
    return lines;
  }
  return [];
}

const ARN = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf';
const LISTENER = 'listener: arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/main/0123456789abcdef/';

/** What was changed, to what, and what is said of it; on which line, if not on the last of those that were changed. */
const wrong: [what: string, which: Which, from: string, to: string, said: string, at?: string][] = [
  [
    'an id of another kind',
    'least',
    'vpc: vpc-0123456789abcdef0',
    'vpc: main',
    'aws.vpc: found "main", expected a VPC\'s id, such as vpc-0123456789abcdef0; correct it',
  ],
  [
    'a number that is text',
    'least',
    'account: "123456789012"',
    'account: 123456789012',
    'aws.account: found 123456789012, expected text; put it in quotes',
  ],
  [
    'a missing key',
    'least',
    '  cluster: main\n',
    '',
    "aws.cluster: found nothing, expected the ECS cluster's name; add this key",
    'aws:',
  ],
  [
    'an unknown key',
    'least',
    '  cluster: main',
    '  cluster: main\n  clusters: other',
    'aws.clusters: found an unknown key, expected account, alarms, cluster, functions, image, load_balancer, ' +
      'logs, region, secrets, security_groups, service, subnets or vpc; correct or remove it',
  ],
  [
    'a text that is a list',
    'least',
    'cluster: main',
    'cluster: [main]',
    'aws.cluster: found a list, expected text; correct it',
  ],
  [
    'one of a list',
    'least',
    'subnet-0123456789abcdef1',
    'sg-0123456789abcdef1',
    'aws.subnets[1]: found "sg-0123456789abcdef1", expected a subnet\'s id, such as ' +
      'subnet-0123456789abcdef0; correct it',
  ],
  [
    'a value that may be left out, but is wrong',
    'full',
    'critical: arn:aws:sns:eu-central-1:123456789012:on-call',
    'critical: on-call',
    'aws.alarms.critical: found "on-call", expected the ARN of an SNS topic, such as ' +
      'arn:aws:sns:eu-central-1:123456789012:on-call; correct it',
  ],
  [
    'a negative number',
    'full',
    'min_tasks: 3',
    'min_tasks: -1',
    'aws.service.min_tasks: found -1, which must be >= 0; correct it',
  ],
  [
    'no subnets',
    'least',
    'subnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]',
    'subnets: []',
    'aws.subnets: found an empty list, expected at least one; name an existing one',
  ],
  [
    'a group twice',
    'least',
    'proxy: [sg-0123456789abcdef1]',
    'proxy: [sg-0123456789abcdef1, sg-0123456789abcdef1]',
    'aws.security_groups.proxy: found sg-0123456789abcdef1 twice, expected each once; remove one of them',
  ],
  [
    'a host with its scheme',
    'least',
    'host: rpc.example.com',
    'host: https://rpc.example.com',
    'aws.load_balancer.host: found "https://rpc.example.com", expected a host name, such as ' +
      'rpc.example.com; write the name alone',
  ],
  [
    'half a listener',
    'least',
    `${LISTENER}fedcba9876543210`,
    LISTENER.slice(0, -1),
    `aws.load_balancer.listener: found "${LISTENER.slice(10, -1)}", expected an ARN that ends in ` +
      'listener/app/NAME/ID/ID; copy it whole from the load balancer',
  ],
  [
    'a priority out of range',
    'full',
    'priority: 7',
    'priority: 50001',
    'aws.load_balancer.priority: found 50001, expected 1 to 50000; write a number in between',
  ],
  [
    'a way to launch that there is not',
    'full',
    'launch: ec2',
    'launch: lambda',
    'aws.service.launch: found "lambda", expected fargate or ec2; write one of them',
  ],
  [
    'an architecture by another name, of tasks',
    'full',
    'architecture: x86_64\n    cpu',
    'architecture: amd64\n    cpu',
    'aws.service.architecture: found "amd64", expected arm64 or x86_64; write one of them',
    'architecture: amd64',
  ],
  [
    'an architecture by another name, of functions',
    'full',
    'architecture: x86_64\n    memory_mb: 1024',
    'architecture: aarch64\n    memory_mb: 1024',
    'aws.functions.architecture: found "aarch64", expected arm64 or x86_64; write one of them',
    'architecture: aarch64',
  ],
  [
    'more CPU than there is',
    'full',
    'cpu: 2048',
    'cpu: 20480',
    'aws.service.cpu: found 20480, expected 128 to 16384; write a number in between',
  ],
  [
    'too little memory',
    'full',
    'memory_mb: 3000',
    'memory_mb: 100',
    'aws.service.memory_mb: found 100, expected 256 to 122880; write a number in between',
  ],
  [
    'a size of CPU that Fargate does not have',
    'full',
    'launch: ec2\n    architecture: x86_64\n    cpu: 2048',
    'launch: fargate\n    architecture: x86_64\n    cpu: 3000',
    'aws.service.cpu: found 3000, expected 256, 512, 1024, 2048, 4096, 8192 or 16384, which are what Fargate ' +
      'has; write one of them',
  ],
  [
    'memory that Fargate does not have with it',
    'full',
    'launch: ec2\n    architecture: x86_64\n    cpu: 2048',
    'launch: fargate\n    architecture: x86_64\n    cpu: 256',
    'aws.service.memory_mb: found 3000, expected one of 512, 1024 or 2048, which Fargate has for cpu: 256; ' +
      'change one of the two',
    'memory_mb: 3000',
  ],
  [
    'no task at all',
    'full',
    'min_tasks: 3',
    'min_tasks: 0',
    'aws.service.min_tasks: found 0, expected 1 to 1000; write a number in between',
  ],
  [
    'fewer tasks at most than at least',
    'full',
    'max_tasks: 20',
    'max_tasks: 2',
    'aws.service.max_tasks: found 2, expected at least min_tasks, which is 3; change one of the two',
  ],
  [
    'a CPU that is never reached',
    'full',
    'target_cpu_percent: 70',
    'target_cpu_percent: 100',
    'aws.service.target_cpu_percent: found 100, expected 10 to 95; write a number in between',
  ],
  [
    'too much memory for a function',
    'full',
    'memory_mb: 1024',
    'memory_mb: 20480',
    'aws.functions.memory_mb: found 20480, expected 128 to 10240; write a number in between',
  ],
  [
    'a reservation in which probe and publish stand in each other’s way',
    'full',
    'reserved_concurrency: 3',
    'reserved_concurrency: 1',
    'aws.functions.reserved_concurrency: found 1, expected 2 to 1000; leave it out, or write 2: publish asks ' +
      'probe, which its schedule may be running at that moment',
  ],
  [
    'a listener in another region',
    'least',
    'elasticloadbalancing:eu-central-1',
    'elasticloadbalancing:eu-west-1',
    'aws.load_balancer.listener: found an ARN in eu-west-1 of 123456789012, expected one in eu-central-1 of ' +
      '123456789012, as aws.region and aws.account say; name another one, or correct those two',
  ],
  [
    'a secret in another account',
    'least',
    'secretsmanager:eu-central-1:123456789012',
    'secretsmanager:eu-central-1:999999999999',
    'aws.secrets.INFURA_KEY: found an ARN in eu-central-1 of 999999999999, expected one in eu-central-1 of ' +
      '123456789012, as aws.region and aws.account say; name another one, or correct those two',
  ],
  [
    'a topic in another region',
    'full',
    'sns:eu-central-1:123456789012:mornings',
    'sns:us-east-1:123456789012:mornings',
    'aws.alarms.warning: found an ARN in us-east-1 of 123456789012, expected one in eu-central-1 of ' +
      '123456789012, as aws.region and aws.account say; name another one, or correct those two',
  ],
  [
    'a secret without a place',
    'full',
    `    INFURA_KEY: ${ARN}\n`,
    '',
    'aws.secrets.INFURA_KEY: found nothing, expected an ARN; write where in Secrets Manager the value of ' +
      'INFURA_KEY is, which stands under `secrets`',
    '  secrets:',
  ],
  [
    'a place without a secret',
    'least',
    `    INFURA_KEY: ${ARN}`,
    `    INFURA_KEY: ${ARN}\n    OTHER: ${ARN}`,
    'aws.secrets.OTHER: found another, expected a name that stands under `secrets`; list it there with its ' +
      'hosts, or remove it',
  ],
  [
    'a secret’s ARN without its end',
    'least',
    ARN,
    ARN.slice(0, -7),
    `aws.secrets.INFURA_KEY: found "${ARN.slice(0, -7)}", expected an ARN with six random characters at its ` +
      'end; copy it whole from Secrets Manager',
  ],
  [
    'a retention that CloudWatch does not have',
    'full',
    'retention_days: 90',
    'retention_days: 31',
    'aws.logs.retention_days: found 31, expected 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, ' +
      '731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653; write one of them',
  ],
  [
    'an interval that schedules do not have',
    'full',
    'interval: 15s',
    'interval: 45s',
    'health.interval: found "45s", expected whole minutes, or what divides a minute; write 15s, 30s, 60s, 2m ' +
      'or the like',
  ],
  [
    'an interval of one and a half minutes',
    'full',
    'interval: 15s',
    'interval: 1m30s',
    'health.interval: found "1m30s", expected whole minutes, or what divides a minute; write 15s, 30s, 60s, ' +
      '2m or the like',
  ],
  [
    'an interval that is too long',
    'full',
    'interval: 15s',
    'interval: 2h',
    'health.interval: found "2h", expected 500ms to 1h; write a duration in between',
  ],
  [
    'a duration that is none',
    'full',
    'timeout: 3s',
    'timeout: 3 blinks',
    'health.timeout: found "3 blinks", expected a duration; write a number with a unit, such as 500ms, 2s, ' +
      '10m or 1h',
  ],
  [
    'a proxy that only its own container reaches',
    'least',
    'listen: 0.0.0.0:8080',
    'listen: 127.0.0.1:8080',
    'proxy.listen: found "127.0.0.1:8080", expected 0.0.0.0 and a port; write 0.0.0.0:8080: the load ' +
      'balancer must reach it',
  ],
  [
    'a stop that Fargate does not wait for',
    'least',
    'listen: 0.0.0.0:8080',
    'listen: 0.0.0.0:8080\n  timeouts: {shutdown: 100s, drain: 20s}',
    'proxy.timeouts.shutdown: found "100s", expected at most 105s together with drain, because Fargate does ' +
      'not wait longer; shorten one of the two',
  ],
  [
    'no networks',
    'least',
    edited(configText('least'), []).split('\n').slice(1, 7).join('\n'),
    'networks: {}',
    'networks: found none, expected at least one; add the chain that your nodes are on',
  ],
];

describe('what is wrong is named with its line, what was found and expected, and what is to do', () => {
  test.each(wrong)('%s', (_, which, from, to, said, at = to.split('\n').at(-1) ?? '') => {
    const text = edited(configText(which), [[from, to]]);
    const line = 1 + text.split('\n').findIndex((line) => line.includes(at));
    expect(faults(text)).toEqual([`line ${line}: ${said}`]);
  });

  test('all of it at once, by line', () => {
    const text = edited(configText('full'), [
      ['timeout: 3s', 'timeout: 3'],
      ['listen: 0.0.0.0:8545', 'listen: 127.0.0.1:8545'],
      ['cluster: main', 'cluster: "my cluster"'],
      ['launch: ec2', 'launch: ec3'],
      ['reserved_concurrency: 3', 'reserved_concurrency: 0'],
      ['retention_days: 90', 'retention_days: 91'],
      ['runbook: https://', 'runbook: http://'],
    ]);
    const keys = faults(text).map((line) => line.replace(/^line [0-9]+: (.+?): .*/, '$1'));
    expect(keys).toEqual([
      'health.timeout',
      'proxy.listen',
      'aws.cluster',
      'aws.service.launch',
      'aws.functions.reserved_concurrency',
      'aws.logs.retention_days',
      'aws.alarms.runbook',
    ]);
  });

  test('a fault of shape hides no other, and causes none', () => {
    // The region is not known, so nothing is said of ARNs.
    const text = edited(configText('least'), [
      ['region: eu-central-1', 'region: Frankfurt'],
      ['listen: 0.0.0.0:8080', 'listen: 127.0.0.1:8080'],
    ]);
    expect(faults(text).map((line) => line.split(': ')[1])).toEqual(['proxy.listen', 'aws.region']);
  });

  test('no section for AWS', () => {
    const [before] = configText('least').split('\naws:\n');
    expect(faults(`${before}\n`)).toEqual([
      'line 1: aws: found nothing, expected the section `aws`, as in config.sample.yml; add this key',
    ]);
  });

  test('an empty file', () => {
    const keys = faults('').map((line) => line.split(': ')[1]);
    expect(keys.sort()).toEqual(['aws', 'networks', 'proxy.listen']);
  });

  test('a list instead of a configuration', () => {
    expect(faults('- 1\n')).toEqual(['line 1: found a list, expected keys and values; correct it']);
  });

  test('what is not YAML', () => {
    expect(faults('aws: [\n')[0]).toMatch(/^line [12]: /);
  });

  test('a key twice', () => {
    expect(faults(`${configText('least')}  region: eu-west-1\n`)[0]).toMatch(/^line 28: .*unique/);
  });

  test('no file', () => {
    const missing = join(temporaryFolder(), 'config.dev.yml');
    expect(() => readFrom(missing)).toThrow(
      `${missing}: it cannot be read (ENOENT), expected the configuration of the stage dev; copy config.sample.yml ` +
        'there, or name another file with -c config=PATH',
    );
  });
});
