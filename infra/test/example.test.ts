/** The example for a CI service: what it calls must be there. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { repository } from './made.js';

interface Step {
  uses?: string;
  run?: string;
  'working-directory'?: string;
}

const workflow = parse(readFileSync(join(repository, 'docs/examples/deploy.github.yml'), 'utf8'));
const jobs = Object.entries(workflow.jobs) as [string, { steps: Step[]; environment: string; needs?: string }][];
const steps = jobs.flatMap(([, { steps }]) => steps);
const commands = steps.flatMap(({ run }) => run?.split('\n') ?? []);

test('it keeps no key: AWS gives each job a role for what GitHub vouches for', () => {
  expect(workflow.permissions).toEqual({ contents: 'read', 'id-token': 'write' });
  const text = JSON.stringify(workflow);
  expect(text).not.toMatch(/secrets\.|access.key/i);
  for (const [, { steps }] of jobs) {
    expect(steps.filter(({ uses }) => uses?.startsWith('aws-actions/configure-aws-credentials@'))).toHaveLength(1);
  }
});

test('what is deployed is what was shown, after somebody approved it', () => {
  const [preview, deploy] = jobs;
  expect(preview?.[0]).toBe('preview');
  expect(deploy?.[1].needs).toBe('preview');
  expect(deploy?.[1].environment).not.toBe(preview?.[1].environment);
  expect(commands.some((command) => command.startsWith('npx cdk diff --app cdk.out'))).toBe(true);
  expect(commands.some((command) => command.startsWith('npx cdk deploy --app cdk.out'))).toBe(true);
});

test('nothing of what a person types becomes part of a script', () => {
  for (const command of commands) expect(command).not.toContain('${{');
});

describe('what it calls', () => {
  const { scripts } = JSON.parse(readFileSync(join(repository, 'infra/package.json'), 'utf8'));
  const called = commands.flatMap((command) => /^npm (?:run )?([a-z:]+)/.exec(command)?.[1] ?? []);

  test('are scripts of this folder', () => {
    const own = called.filter((name) => name !== 'ci');
    expect(own).toContain('synth');
    for (const name of own) expect(Object.keys(scripts)).toContain(name);
  });

  test('are folders of the repository', () => {
    const folders = steps.flatMap((step) => step['working-directory'] ?? []);
    expect(folders).not.toHaveLength(0);
    for (const folder of folders) expect(existsSync(join(repository, folder))).toBe(true);
  });
});
