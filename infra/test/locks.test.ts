/** What is installed of the npm registry, here and for the tests: nothing without a digest, and nothing that runs by itself. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { repository } from './made.js';

interface Locked {
  integrity?: string;
  /** Comes within another package, whose digest is its own. */
  inBundle?: boolean;
}

/** Files of this name which the repository has, by their paths in it. */
const named = (name: string): string[] =>
  execFileSync('git', ['-C', repository, 'ls-files', name, `*/${name}`], { encoding: 'utf8' })
    .trim()
    .split('\n');

const read = (file: string): string => readFileSync(join(repository, file), 'utf8');
const locks = named('package-lock.json');

test('whoever wants packages locks them', () => {
  expect(locks.map(dirname)).toEqual(named('package.json').map(dirname));
  expect(locks).toContain('infra/package-lock.json');
});

describe.each(locks)('%s', (lock) => {
  test('every package has its digest', () => {
    const packages = Object.entries(JSON.parse(read(lock)).packages as Record<string, Locked>);
    const fetched = packages.filter(([name, { inBundle }]) => name !== '' && !inBundle);
    expect(fetched).not.toHaveLength(0);
    for (const [name, { integrity }] of fetched) expect(integrity, name).toMatch(/^sha512-/);
  });

  test('no package runs anything when it is installed', () => {
    expect(read(join(dirname(lock), '.npmrc'))).toMatch(/^ignore-scripts=true$/m);
  });
});

test('updates are proposed for every lock file', () => {
  const { updates } = parse(read('.github/dependabot.yml')) as {
    updates: { 'package-ecosystem': string; directories: string[] }[];
  };
  const looked = (kind: string) =>
    updates
      .find((update) => update['package-ecosystem'] === kind)
      ?.directories.map((path) => path.slice(1))
      .sort();
  const folders = (name: string) =>
    named(name)
      .map((file) => dirname(file).replace(/^\.$/, ''))
      .sort();
  expect(looked('cargo')).toEqual(folders('Cargo.lock'));
  expect(looked('npm')).toEqual(folders('package-lock.json'));
  expect(looked('pip')).toEqual(folders('requirements.txt'));
});
