/** The app as the CDK starts it: a program with context, an exit code and words for people. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { configText, standIns, temporaryFolder } from './made.js';

const infra = resolve(import.meta.dirname, '..');
const { app } = JSON.parse(readFileSync(join(infra, 'cdk.json'), 'utf8'));

function run(context: Record<string, string>): { status: number | null; said: string; out: string } {
  const out = temporaryFolder();
  const { status, stderr } = spawnSync(app, {
    shell: true,
    cwd: infra,
    encoding: 'utf8',
    env: { ...process.env, CDK_OUTDIR: out, CDK_CONTEXT_JSON: JSON.stringify(context) },
  });
  return { status, said: stderr.trim(), out };
}

test('without a stage, it says how to name one', () => {
  const { status, said } = run({});
  expect(status).toBe(1);
  expect(said).toMatch(/^stage: none was given, .*; write it as -c stage=dev$/);
});

test('with faults, it says them all, and makes nothing', () => {
  const config = join(temporaryFolder(), 'config.yml');
  writeFileSync(config, configText('least').replace('vpc: vpc-', 'vpc: ').replace('0.0.0.0', '127.0.0.1'));
  const { status, said, out } = run({ stage: 'dev', config, binaries: standIns() });
  expect(status).toBe(1);
  expect(said.split('\n').map((line) => line.split(': ').slice(0, 2))).toEqual([
    [`${config} has 2 faults:`],
    ['line 12', 'proxy.listen'],
    ['line 16', 'aws.vpc'],
  ]);
  expect(existsSync(join(out, 'manifest.json'))).toBe(false);
});

test('with everything, it makes the template', () => {
  const config = join(temporaryFolder(), 'config.yml');
  writeFileSync(config, configText('least'));
  const { status, out } = run({ stage: 'dev', config, binaries: standIns() });
  expect(status).toBe(0);
  expect(existsSync(join(out, 'nodeweir-dev.template.json'))).toBe(true);
});
