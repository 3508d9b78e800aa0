/** From the JSON Schema's words about a configuration to words for people. */
import type { ErrorObject } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Fault } from './config.js';

interface Schema {
  $ref?: string;
  anyOf?: Schema[];
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
}

/** Checks `data` by the schema, and writes the schema's defaults into it where nothing stands. */
export function applySchema(schema: object, data: unknown): Fault[] {
  const ajv = new Ajv2020({
    allErrors: true,
    verbose: true,
    useDefaults: true,
    // `format` names an integer's width here, which the minimum beside it bounds too; `default` stands beside `$ref`.
    strict: false,
    validateFormats: false,
  });
  const validate = ajv.compile(sectionRequired(schema as Schema));
  if (validate(data)) return [];
  const errors = validate.errors ?? [];
  // A value that may be left out is "this or null". What matters is what is wrong with "this".
  return errors
    .filter((error) => error.keyword !== 'anyOf' && !(error.keyword === 'type' && error.params.type === 'null'))
    .map(toFault);
}

/** The section `aws`, which one machine has no use for, is required here. */
function sectionRequired(schema: Schema): Schema {
  const aws = schema.properties?.aws?.anyOf?.find((option) => option.$ref !== undefined);
  if (aws === undefined) throw new Error('config.schema.json has no section `aws` that is one thing or null');
  return {
    ...schema,
    properties: {
      ...schema.properties,
      aws: { ...aws, description: 'the section `aws`, as in config.sample.yml' },
    },
    required: [...(schema.required ?? []), 'aws'],
  };
}

function toFault(error: ErrorObject): Fault {
  const path = error.instancePath.split('/').slice(1).map(unescapePointer);
  const parent = error.parentSchema as Schema;
  const found = `found ${show(error.data)}`;
  switch (error.keyword) {
    case 'required': {
      const key: string = error.params.missingProperty;
      const expected = parent.properties?.[key]?.description ?? 'a value';
      return { path: [...path, key], problem: `found nothing, expected ${plain(expected)}; add this key` };
    }
    case 'additionalProperties': {
      const key: string = error.params.additionalProperty;
      const known = Object.keys(parent.properties ?? {});
      return { path: [...path, key], problem: `found an unknown key, expected ${orList(known)}; correct or remove it` };
    }
    case 'type': {
      const type = [error.params.type].flat().filter((name) => name !== 'null');
      const remedy = type.includes('string') && isScalar(error.data) ? 'put it in quotes' : 'correct it';
      return { path, problem: `${found}, expected ${orList(type.map((name) => TYPES[name] ?? name))}; ${remedy}` };
    }
    case 'pattern':
      return { path, problem: `${found}, expected ${plain(parent.description ?? error.params.pattern)}; correct it` };
    default:
      return { path, problem: `${found}, which ${error.message}; correct it` };
  }
}

const TYPES: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  object: 'keys and values',
  string: 'text',
};

const isScalar = (value: unknown): boolean => typeof value === 'number' || typeof value === 'boolean';

const unescapePointer = (step: string): string => step.replaceAll('~1', '/').replaceAll('~0', '~');

/** A description as part of a sentence. */
function plain(description: string): string {
  return description.replace(/\.$/, '').replace(/^(A|An|The|Where|What|How|Who) /, (word) => word.toLowerCase());
}

/** `a`, `a or b`, `a, b or c`. */
export function orList(words: readonly (string | number)[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** A value as people wrote it, shortened. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'keys and values';
  const text = JSON.stringify(value);
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
