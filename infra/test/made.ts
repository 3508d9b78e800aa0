/** Stacks to look at: made from the configurations beside this file, with stand-ins for the functions' binaries. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { type Made, makeApp } from '../lib/app.js';
import { type Config, readConfig } from '../lib/config.js';
import { FLOWS } from '../lib/names.js';

/** A folder that goes when the tests of a file are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nodeweir-infra-'));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];

export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** A folder with a stand-in for each binary. */
export function standIns(content: string | Buffer = 'stand-in'): string {
  const folder = temporaryFolder();
  for (const flow of FLOWS) {
    mkdirSync(join(folder, flow));
    writeFileSync(join(folder, flow, 'bootstrap'), content);
  }
  return folder;
}

/** `least` has only what has no default; `full` has another value than the default everywhere. */
export type Which = 'least' | 'full';

export const configText = (which: Which): string =>
  readFileSync(join(import.meta.dirname, `config.${which}.yml`), 'utf8');

/** Changes a text, and fails if there is nothing to change. */
export function edited(text: string, edits: [from: string, to: string][]): string {
  return edits.reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`not in the text: ${from}`);
    return changed.replace(from, () => to);
  }, text);
}

export const repository = resolve(import.meta.dirname, '../..');

const schema = JSON.parse(readFileSync(join(repository, 'config.schema.json'), 'utf8'));

/** Reads a configuration as the app does. */
export const readFrom = (file: string): Config => readConfig('dev', file, schema);

export function read(text: string): Config {
  const file = join(temporaryFolder(), 'config.dev.yml');
  writeFileSync(file, text);
  return readFrom(file);
}

interface Options {
  which?: Which;
  edits?: [from: string, to: string][];
  stage?: string;
  context?: Record<string, unknown>;
}

export function make({ which = 'least', edits = [], stage = 'dev', context = {} }: Options = {}): Made {
  const config = join(temporaryFolder(), 'config.yml');
  writeFileSync(config, edited(configText(which), edits));
  return makeApp({ outdir: temporaryFolder(), context: { stage, config, binaries: standIns(), ...context } });
}

export const template = (options?: Options): Template => Template.fromStack(make(options).stack);

/** The templates of both configurations, made once. */
export const templates: Record<Which, () => Template> = {
  least: once(() => template({ which: 'least' })),
  full: once(() => template({ which: 'full' })),
};

function once<T>(produce: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= produce());
}

// biome-ignore lint/suspicious/noExplicitAny: a template is free-form, and a test that finds undefined fails.
export type Resource = { Type: string; Properties: any; [key: string]: any };

/** Resources of a type, by logical name. */
export function resources(of: Template, type: string): [name: string, resource: Resource][] {
  return Object.entries(of.findResources(type)) as [string, Resource][];
}

/** The only resource of a type whose logical name begins so. */
export function resource(of: Template, type: string, name = ''): Resource {
  const found = resources(of, type).filter(([logical]) => logical.startsWith(name));
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(`${found.length} of ${type} begin with ${name}: ${found.map(([logical]) => logical)}`);
  }
  return found[0][1];
}
