/** What the functions run: a binary that cargo-lambda has built, beside the stage's configuration. */
import { chmodSync, closeSync, copyFileSync, existsSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AssetHashType, DockerImage } from 'aws-cdk-lib';
import { Code } from 'aws-cdk-lib/aws-lambda';
import { type Architecture, type Config, Faults } from './config.js';
import { FLOWS, type Flow } from './names.js';

/** cargo-lambda's name for each architecture, and ELF's number. */
const BUILDS: Record<Architecture, { flag: string; machine: number }> = {
  arm64: { flag: '--arm64', machine: 0xb7 },
  x86_64: { flag: '--x86-64', machine: 0x3e },
};

/** Throws `Faults` unless `folder` has all binaries, for the right architecture. */
export function checkBinaries(folder: string, architecture: Architecture): void {
  const faults = FLOWS.flatMap((flow) => {
    const file = binary(folder, flow);
    if (!existsSync(file)) return [`${file}: not found`];
    const machine = machineOf(file);
    if (machine === undefined || machine === BUILDS[architecture].machine) return [];
    const other = Object.entries(BUILDS).find(([, build]) => build.machine === machine)?.[0] ?? 'something else';
    return [`${file}: built for ${other}, expected ${architecture}, as aws.functions.architecture says`];
  });
  if (faults.length === 0) return;
  throw new Faults(
    [
      'The functions have not been built:',
      ...faults,
      'In the repository, run',
      `  cargo lambda build -p nodeweir-lambdas --release --locked ${BUILDS[architecture].flag}`,
      'or say with -c binaries=FOLDER where probe/bootstrap, publish/bootstrap and rollout/bootstrap are.',
    ].join('\n'),
  );
}

/** The package of one function, whose hash depends on nothing but its bytes. */
export function codeOf(flow: Flow, folder: string, config: Config): Code {
  return Code.fromAsset(join(folder, flow), {
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      // Asked for, but never used: what follows always succeeds.
      image: DockerImage.fromRegistry('scratch'),
      local: {
        tryBundle(output: string): boolean {
          const target = join(output, 'bootstrap');
          copyFileSync(binary(folder, flow), target);
          chmodSync(target, 0o755);
          writeFileSync(join(output, 'config.yml'), config.text);
          return true;
        },
      },
    },
  });
}

const binary = (folder: string, flow: Flow): string => join(folder, flow, 'bootstrap');

/** The architecture in the header of an ELF file; none of another file, such as a script. */
function machineOf(file: string): number | undefined {
  const header = Buffer.alloc(20);
  const descriptor = openSync(file, 'r');
  try {
    const length = readSync(descriptor, header, 0, header.length, 0);
    const isElf = length === header.length && header.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'));
    return isElf ? header.readUInt16LE(18) : undefined;
  } finally {
    closeSync(descriptor);
  }
}
