import { AUDIT_FORMATS } from '../../../service/audit/export.ts';
import { OPERATIONS } from '../../../service/names.ts';
import { READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  COUNT,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  named,
  nullable,
  type Operation,
  object,
  type Properties,
  refTo,
  TEXT,
  TIME,
} from '../rest/schema.ts';
import { ENVIRONMENT_ID, SIDE } from './schemas.ts';

/** One change, or one showing of secrets, as the audit tells it. */
export const AUDIT_ENTRY = named(
  'AuditEntry',
  object({
    id: described(TEXT, 'Of the change'),
    revision: described(NUMBER_FROM_1, 'Of the store, at which it was made'),
    at: TIME,
    actor: object({
      name: TEXT,
      authenticated: described(FLAG, 'The store knows the name; else the caller gave it'),
      claimed: described(nullable(TEXT), 'Who it was for, as the request says'),
      address: described(TEXT, 'Where from'),
      agent: described(nullable(TEXT), 'The user agent, cut to 256 characters'),
    }),
    operation: { type: 'string', enum: OPERATIONS },
    reason: TEXT,
    changeSet: nullable(TEXT),
    items: list(
      object({
        kind: { type: 'string', enum: ['configuration', 'environment', 'application'] },
        type: { type: 'string', enum: ['created', 'updated', 'deleted', 'revealed'] },
        environment: described(nullable(TEXT), 'Null of applications'),
        application: described(nullable(TEXT), 'Null of environments'),
        key: described(nullable(TEXT), 'Null of environments and applications'),
        configurationId: nullable(TEXT),
        versionBefore: described(COUNT, '0: there was none'),
        versionAfter: COUNT,
        oldValue: SIDE,
        newValue: SIDE,
        fields: described(list(object({ name: TEXT, before: ANY, after: ANY })), 'What else changed'),
        versionsNotKept: described(list(COUNT), 'Of the two; their values are not known any more'),
      }),
    ),
  }),
);

const FILTER: Properties = {
  actor: described(TEXT, 'Who did it'),
  from: described(TIME, 'From this time on'),
  to: described(TIME, 'Before this time'),
  operation: { type: 'string', enum: OPERATIONS },
  changeSet: TEXT,
  environment: ENVIRONMENT_ID,
  application: TEXT,
  key: TEXT,
  keyPrefix: TEXT,
};
const TAG = 'Audit';

/** `GET /api/v1/audit` */
export const LIST: Operation = {
  operationId: 'listAudit',
  summary: 'Who changed what, when, why and from where, and who was shown a secret; newest first',
  tag: TAG,
  kind: 'read',
  query: {
    ...FILTER,
    cursor: described(COUNT, 'next of the page before'),
    size: { ...NUMBER_FROM_1, default: 100 },
  },
  answers: {
    200: {
      description: 'A page, which may be empty though there is a next one',
      schema: object({
        items: list(refTo(AUDIT_ENTRY)),
        next: described(nullable(COUNT), 'The cursor of the next page; null: there is nothing older'),
      }),
    },
    ...READ_PROBLEMS,
  },
};

/** `GET /api/v1/audit/export` */
export const EXPORT: Operation = {
  operationId: 'exportAudit',
  summary: 'All that the filter means, as lines of JSON or as CSV; newest first, sent as it is read',
  tag: TAG,
  kind: 'read',
  query: { ...FILTER, format: { type: 'string', enum: AUDIT_FORMATS, default: 'jsonl' } },
  answers: {
    200: { description: 'A line for each change, in CSV for each thing', schema: TEXT },
    ...READ_PROBLEMS,
  },
  answerTypes: ['application/x-ndjson', 'text/csv'],
};

/** `GET /api/v1/audit/seal` */
export const SEAL: Operation = {
  operationId: 'getAuditSeal',
  summary: 'The end of the chain of hashes over all changes, to be written down elsewhere',
  tag: TAG,
  kind: 'call',
  answers: {
    200: {
      description: 'How far it reaches',
      schema: object({
        sealed: described(COUNT, 'Changes in the chain'),
        revision: described(COUNT, 'Of the newest of them'),
        anchor: described(TEXT, 'What `conclave audit verify --anchor` takes'),
      }),
    },
    ...READ_PROBLEMS,
  },
};
