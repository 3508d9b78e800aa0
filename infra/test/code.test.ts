import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';
import { checkBinaries } from '../lib/code.js';
import { FLOWS } from '../lib/names.js';
import { configText, make, resources, standIns } from './made.js';

/** The beginning of a Linux program for a machine, by ELF's number. */
function elf(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF', 'latin1');
  header.writeUInt16LE(machine, 18);
  return header;
}

describe('binaries', () => {
  test('of the right architecture are taken', () => {
    checkBinaries(standIns(elf(0xb7)), 'arm64');
    checkBinaries(standIns(elf(0x3e)), 'x86_64');
  });

  test('that are missing: all are named, with the command that makes them', () => {
    const folder = standIns();
    for (const flow of ['probe', 'rollout']) rmSync(join(folder, flow), { recursive: true });
    expect(() => checkBinaries(folder, 'arm64')).toThrow(
      [
        'The functions have not been built:',
        `${folder}/probe/bootstrap: not found`,
        `${folder}/rollout/bootstrap: not found`,
        'In the repository, run',
        '  cargo lambda build -p nodeweir-lambdas --release --locked --arm64',
        'or say with -c binaries=FOLDER where probe/bootstrap, publish/bootstrap and rollout/bootstrap are.',
      ].join('\n'),
    );
    expect(() => checkBinaries(folder, 'x86_64')).toThrow(
      'cargo lambda build -p nodeweir-lambdas --release --locked --x86-64',
    );
  });

  test('for another machine would only fail when they run', () => {
    const folder = standIns(elf(0xb7));
    writeFileSync(join(folder, 'probe', 'bootstrap'), elf(0x3e));
    expect(() => checkBinaries(folder, 'arm64')).toThrow(
      `${folder}/probe/bootstrap: built for x86_64, expected arm64, as aws.functions.architecture says`,
    );
  });

  test('an app without them says so before it makes anything', () => {
    const folder = standIns();
    rmSync(join(folder, 'publish'), { recursive: true });
    expect(() => make({ context: { binaries: folder } })).toThrow('publish/bootstrap: not found');
  });
});

describe('packages', () => {
  /** The folder of each function's package. */
  function packages(binaries: string): Map<string, string> {
    const { app, stack } = make({ which: 'full', context: { binaries } });
    const functions = resources(Template.fromStack(stack), 'AWS::Lambda::Function');
    return new Map(
      functions.map(([, { Properties }]) => {
        const hash = Properties.Code.S3Key.replace('.zip', '');
        return [Properties.FunctionName, join(app.outdir, `asset.${hash}`)];
      }),
    );
  }

  test('hold the binary and the configuration as it was written', () => {
    const made = packages(standIns('a program'));
    expect([...made.keys()].sort()).toEqual(FLOWS.map((flow) => `nodeweir-dev-${flow}`));
    for (const folder of made.values()) {
      expect(readdirSync(folder).sort()).toEqual(['bootstrap', 'config.yml']);
      expect(readFileSync(join(folder, 'bootstrap'), 'utf8')).toBe('a program');
      expect(statSync(join(folder, 'bootstrap')).mode & 0o777).toBe(0o755);
      expect(readFileSync(join(folder, 'config.yml'), 'utf8')).toBe(configText('full'));
    }
  });

  test('are the same when nothing changed, whenever they were built', () => {
    const name = (folder: string) => folder.split('/').at(-1);
    const [one, again, other] = ['a program', 'a program', 'another'].map((content) =>
      [...packages(standIns(content)).values()].map(name),
    );
    expect(again).toEqual(one);
    expect(other).not.toEqual(one);
  });
});
