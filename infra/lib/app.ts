/** From what `cdk -c` was given to a stack. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { App, Validations } from 'aws-cdk-lib';
import flags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { checkBinaries } from './code.js';
import { checkStage, readConfig } from './config.js';
import { NodeweirStack } from './stack.js';

const REPOSITORY = resolve(import.meta.dirname, '../..');

export interface Made {
  app: App;
  stack: NodeweirStack;
}

/**
 * Makes the app of one stage. Context, given with `-c`: `stage`; `config`, a file, by default config.STAGE.yml in the
 * repository; `binaries`, a folder, by default where `cargo lambda build` puts them. Throws `Faults`.
 */
export function makeApp(more: { context?: Record<string, unknown>; outdir?: string } = {}): Made {
  const { context, ...rest } = more;
  const app = new App({ ...rest, context: { ...flags, ...context } });
  const given = (name: string, otherwise: string): string => resolve(app.node.tryGetContext(name) ?? otherwise);
  const stage = checkStage(app.node.tryGetContext('stage'));
  const schema = JSON.parse(readFileSync(resolve(REPOSITORY, 'config.schema.json'), 'utf8'));
  const config = readConfig(stage, given('config', resolve(REPOSITORY, `config.${stage}.yml`)), schema);
  const binaries = given('binaries', resolve(REPOSITORY, 'target/lambda'));
  checkBinaries(binaries, config.aws.functions.architecture);

  const stack = new NodeweirStack(app, config, binaries);
  // What these rules find makes a synthesis fail. What they are told to overlook, and why, stands beside each resource,
  // here and in the template.
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app, { writeSuppressionsToCloudFormation: true }));
  return { app, stack };
}
