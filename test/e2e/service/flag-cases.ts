import { expect } from 'vitest';
import { featureId } from '../../../src/config-format/ids.ts';
import { type Case, NUMBER, TEXT, TIME } from './operation-cases.ts';

type Kind = 'flag' | 'segment';

/** Where a flag of the cases is. */
export interface FlagAt {
  readonly application: string;
  /** Its canonical id. */
  readonly environment: string;
  readonly key: string;
}

/** A plain switch. */
export const ON_OFF = {
  type: 'boolean',
  variants: { on: true, off: false },
  offVariant: 'off',
  fallthrough: { variant: 'on' },
};
/** What a definition has when nothing is said of it. */
const UNSAID = {
  enabled: true,
  offVariant: null,
  targets: [],
  rules: [],
  prerequisites: [],
  targetServices: [],
  conditions: {},
  schedule: [],
  expiresAt: null,
  metadata: {},
};

/** A definition as it is shown: all fields, the said ones as they are said. */
export function whole(key: string, said: object): object {
  return { ...UNSAID, key, ...said };
}

/** A condition on one attribute. */
export function when(attribute: string, operator: string, ...values: readonly unknown[]): object {
  return { attribute, operator, values };
}

/** A flag or segment that is there, as our own paths make it. */
export function hasFeature(kind: Kind, at: FlagAt, definition: object, more: object = {}): Case {
  const body = { ...at, definition, ...more };
  return { title: 'given', method: 'POST', path: `/api/v1/${kind}s`, body, status: 201 };
}

export function featureIdOf(kind: Kind, at: FlagAt): string {
  return featureId({ kind, tenant: 'default', ...at });
}

/** A flag or segment as our own paths show it, with every field. */
export function feature(
  kind: Kind,
  at: FlagAt,
  fields: { readonly definition: object; readonly [field: string]: unknown },
): object {
  return {
    kind,
    id: featureIdOf(kind, at),
    tenant: 'default',
    ...at,
    description: '',
    tags: [],
    version: 1,
    createdBy: 'anonymous',
    createdAt: TIME,
    updatedBy: 'anonymous',
    updatedAt: TIME,
    changeId: TEXT,
    etag: TEXT,
    revision: NUMBER,
    ...fields,
  };
}

/** Definitions that are wrong, and the fields that an answer names, relative to the definition. */
export const WRONG_DEFINITIONS: readonly (readonly [
  title: string,
  definition: unknown,
  fields: readonly string[],
])[] = [
  ['a definition that is none', 7, ['']],
  ['an empty definition', {}, ['type', 'variants', 'fallthrough']],
  ['a type that is none', { ...ON_OFF, type: 'date' }, ['type']],
  ['a variant of another type', { ...ON_OFF, variants: { on: 'yes', off: false } }, ['variants/on']],
  ['an unknown variant', { ...ON_OFF, fallthrough: { variant: 'maybe' } }, ['fallthrough/variant']],
  ['an unknown field', { ...ON_OFF, colour: 'red' }, ['colour']],
  [
    'weights that do not add up',
    { ...ON_OFF, fallthrough: { split: weights(5_000, 4_999) } },
    ['fallthrough/split/weights'],
  ],
  ['a malformed rule', withRule({ when: {} }), ['rules/0/when', 'rules/0/serve']],
  [
    'an operator that is none',
    withRule({ when: [when('a', 'ALMOST', 'x')], serve: { variant: 'on' } }),
    ['rules/0/when/0/operator'],
  ],
  [
    'a regular expression that is none',
    withRule({ when: [when('a', 'MATCHES', '(')], serve: { variant: 'on' } }),
    ['rules/0/when/0/values/0'],
  ],
  [
    'a share beyond everybody',
    withRule({ rollout: { share: 10_001 }, serve: { variant: 'on' } }),
    ['rules/0/rollout/share'],
  ],
  [
    'a segment that is not there',
    withRule({ when: [{ segment: 'nobody' }], serve: { variant: 'on' } }),
    ['rules/0/when/0/segment'],
  ],
  [
    'a prerequisite that is not there',
    { ...ON_OFF, prerequisites: [{ flag: 'never-made', variants: ['on'] }] },
    ['prerequisites/0/flag'],
  ],
];

function weights(on: number, off: number): object {
  return {
    weights: [
      { variant: 'on', weight: on },
      { variant: 'off', weight: off },
    ],
  };
}

function withRule(rule: object): object {
  return { ...ON_OFF, rules: [rule] };
}

/** Fields of a definition as fields of a request. */
export function inDefinition(fields: readonly string[]): readonly string[] {
  return fields.map((field) => (field === '' ? 'definition' : `definition/${field}`));
}

/** Any fields at all. */
export const SOME_FIELDS = expect.any(Array) as unknown as string[];
