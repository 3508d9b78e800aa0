/** Names that the stack shares with the programs: environment, keys, metrics. Change them only together with those. */

/** The functions, which are also the flows that metrics and logs speak of. */
export const FLOWS = ['probe', 'publish', 'rollout'] as const;
export type Flow = (typeof FLOWS)[number];

/** The published object. Nothing but the function `publish` writes it. */
export const PUBLISHED_KEY = 'revision.conf';

/** Of what functions and tasks measure. */
export const METRICS = 'Nodeweir';

/** The stack, and the beginning of all names that people meet: `nodeweir-dev`. */
export const stackName = (stage: string): string => `nodeweir-${stage}`;

/** `/nodeweir/dev/probe`. */
export const logGroupName = (stage: string, of: Flow | 'proxy'): string => `/nodeweir/${stage}/${of}`;
