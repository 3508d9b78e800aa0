/** What cdk.json runs. */
import { makeApp } from './app.js';
import { Faults } from './config.js';

try {
  makeApp().app.synth();
} catch (error) {
  if (!(error instanceof Faults)) throw error;
  // For people: no stack trace. At once: the CDK would otherwise synthesise what there is, which is nothing.
  console.error(`\n${error.message}\n`);
  process.exit(1);
}
