import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkStage } from '../lib/config.js';
import { parseSeconds } from '../lib/reading.js';
import { configText, edited, read, repository } from './made.js';

describe('what is right', () => {
  test('the least configuration gets every default', () => {
    const config = read(configText('least'));
    expect(config).toMatchObject({
      stage: 'dev',
      text: configText('least'),
      networks: ['ethereum'],
      port: 8080,
      health: { interval: 60, timeout: 2, confirmAfter: 10 },
      gate: true,
      proxy: { total: 30, stop: 75 },
    });
    expect(config.aws).toMatchObject({
      load_balancer: { priority: 100 },
      service: {
        launch: 'fargate',
        architecture: 'arm64',
        cpu: 1024,
        memory_mb: 2048,
        min_tasks: 2,
        max_tasks: 10,
        target_cpu_percent: 60,
      },
      functions: { architecture: 'arm64', memory_mb: 512, reserved_concurrency: null },
      logs: { retention_days: 30 },
      alarms: { critical: null, warning: null, runbook: null },
    });
  });

  test('the full configuration is taken as it is', () => {
    const config = read(configText('full'));
    expect(config).toMatchObject({
      networks: ['ethereum', 'optimism'],
      port: 8545,
      health: { interval: 15, timeout: 3, confirmAfter: 10 },
      proxy: { total: 45, stop: 115 },
    });
    expect(config.aws.service).toMatchObject({ launch: 'ec2', memory_mb: 3000, max_tasks: 20 });
    expect(config.aws.functions.reserved_concurrency).toBe(3);
  });

  test('the sample of the repository can be deployed', () => {
    const sample = readFileSync(join(repository, 'config.sample.yml'), 'utf8');
    const [before, aws, ...none] = sample.split('\n# aws:\n');
    expect(none).toEqual([]);
    const section = aws?.split('\n').map((line) => line.replace(/^# ?/, ''));
    const text = edited(`${before}\naws:\n${section?.join('\n')}`, [
      ['listen: 127.0.0.1:8080', 'listen: 0.0.0.0:8080'],
    ]);
    expect(read(text).aws.cluster).toBe('main');
  });

  test.each([
    ['500ms', 0.5],
    ['15s', 15],
    ['1m', 60],
    ['1h30m', 5400],
    ['1m 30s', 90],
    ['1.5m', 90],
    ['2 minutes', 120],
  ])('%s is a duration', (text, seconds) => expect(parseSeconds(text)).toBe(seconds));

  test.each(['', '2', 's', '2 parsecs', '1h-2m', '-2s'])('%o is none', (text) =>
    expect(parseSeconds(text)).toBeUndefined(),
  );
});

describe('a stage', () => {
  test.each(['dev', 'production', 'team-a-2'])('%s', (stage) => expect(checkStage(stage)).toBe(stage));

  test.each([undefined, '', 'Dev', '1st', 'a b', 'dev-', 'a'.repeat(31), 7])('not %o', (stage) => {
    expect(() => checkStage(stage)).toThrow(/^stage: .*; write it as -c stage=dev$/);
  });
});
