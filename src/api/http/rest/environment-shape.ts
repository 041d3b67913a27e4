import type { EnvironmentView } from '../../../service/environments/environments.ts';
import { spellEnvironment } from '../../../service/environments/spelling.ts';
import {
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  named,
  nullable,
  object,
  type Schema,
  strictObject,
  TEXT,
  TIME,
} from './schema.ts';

/** An environment as it is shown. */
export function environmentOf(view: EnvironmentView) {
  const { id, description, parent, rules, isStandard, inherits, version } = view;
  const { createdBy, createdAt, updatedBy, updatedAt } = view;
  return {
    id,
    name: spellEnvironment(id, 'short'),
    description,
    parent,
    inherits,
    rules,
    standard: isStandard,
    version,
    ...(version === 0 ? {} : { createdBy, createdAt, updatedBy, updatedAt }),
  };
}

/** What a request may say of an environment. */
export interface EnvironmentBody {
  readonly description?: string;
  readonly parent?: string | null;
  readonly rules?: {
    readonly locked?: boolean;
    readonly promoteOnlyFrom?: string | null;
    readonly reasonRequired?: boolean;
  };
}

const RULES = {
  locked: described(FLAG, 'Nothing may be changed'),
  promoteOnlyFrom: described(nullable(TEXT), 'Changes come by promotion from this environment only'),
  reasonRequired: described(FLAG, 'Every change must say why'),
};

const CONTENT: Readonly<Record<string, Schema>> = {
  description: TEXT,
  parent: described(nullable(TEXT), 'The environment that shows through where this one has nothing'),
  rules: strictObject(RULES),
};

export const ENVIRONMENT = named(
  'Environment',
  object({
    id: described(TEXT, 'The canonical id'),
    name: described(TEXT, 'As DEV, TEST, STAGING and PROD are written'),
    description: TEXT,
    parent: nullable(TEXT),
    inherits: described(list(TEXT), 'Those that it inherits from, nearest first'),
    rules: object(RULES),
    standard: described(FLAG, 'Every tenant has it'),
    version: described(COUNT, '0 = a standard one that nobody has changed'),
    createdBy: TEXT,
    createdAt: TIME,
    updatedBy: TEXT,
    updatedAt: TIME,
  }),
);

export const ENVIRONMENT_CREATION = named(
  'CreateEnvironmentRequest',
  strictObject(
    { id: described(TEXT, 'Letters, digits, "-" and "_", up to 20'), ...CONTENT, ...CHANGE_FIELDS },
    ['id'],
  ),
);
export const ENVIRONMENT_UPDATE = named(
  'UpdateEnvironmentRequest',
  strictObject({ ...CONTENT, ...CHANGE_FIELDS }),
);
