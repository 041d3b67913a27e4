import { INSTANCE_ID_MAX, LABEL_MAX } from '../../../service/delivery/instance.ts';
import { OPERATIONS } from '../../../service/names.ts';
import { READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  COUNT,
  described,
  list,
  NUMBER_FROM_1,
  named,
  nullable,
  type Operation,
  object,
  type Properties,
  refTo,
  strictObject,
  TEXT,
  TIME,
} from '../rest/schema.ts';
import { ENVIRONMENT_ID } from './schemas.ts';

const DELIVERY_TAG = 'Delivery';
const TAG = 'Instances';
const LABEL = { type: 'string', maxLength: LABEL_MAX };
const BUSY = {
  429: { description: 'This server keeps as many as it may', schema: READ_PROBLEMS[400]!.schema },
};

/** An instance and how far it is. */
export const INSTANCE = named(
  'Instance',
  object({
    id: TEXT,
    environment: TEXT,
    application: TEXT,
    version: described(TEXT, 'Of the program that runs'),
    region: TEXT,
    since: described(TIME, 'When it registered'),
    applied: described(COUNT, 'It uses everything up to this revision; 0: it has not said'),
    rejected: described(
      nullable(object({ revision: COUNT, reason: TEXT })),
      'What it refused after that, and why',
    ),
    reportedAt: described(TIME, 'When it said so last'),
  }),
);

/** `GET /api/v1/delivery` */
export const DELIVERY: Operation = {
  operationId: 'getDelivery',
  summary: 'Which instances have a change, which lag, and which rejected it',
  tag: DELIVERY_TAG,
  kind: 'call',
  query: {
    revision: described(NUMBER_FROM_1, 'Of the change'),
    configuration: described(TEXT, 'Id of a configuration, whose last change is meant'),
    application: described(TEXT, 'With environment and key: the same by its name'),
    environment: ENVIRONMENT_ID,
    key: TEXT,
  },
  answers: {
    200: {
      description:
        'All are counted, the first 1,000 named: those that rejected it, those that lag, the others',
      schema: object({
        revision: COUNT,
        changeId: TEXT,
        at: TIME,
        operation: { type: 'string', enum: OPERATIONS },
        counts: object({ applied: COUNT, lagging: COUNT, rejected: COUNT }),
        instances: list(
          object({
            id: TEXT,
            environment: TEXT,
            application: TEXT,
            version: TEXT,
            region: TEXT,
            state: { type: 'string', enum: ['applied', 'lagging', 'rejected'] },
            applied: COUNT,
            reason: nullable(TEXT),
            reportedAt: TIME,
          }),
        ),
      }),
    },
    ...READ_PROBLEMS,
  },
};

const PLACE: Properties = {
  environment: ENVIRONMENT_ID,
  application: TEXT,
  id: described({ type: 'string', maxLength: INSTANCE_ID_MAX }, 'Of one instance in its place'),
};
const REPORT: Properties = {
  applied: described(COUNT, 'It uses everything up to this revision'),
  rejected: described(
    strictObject({ revision: NUMBER_FROM_1, reason: TEXT }, ['revision', 'reason']),
    'It does not use what came with this revision, and why',
  ),
};
const ONE = { 200: { description: 'As it is known now', schema: refTo(INSTANCE) } };

/** `GET /api/v1/instances` */
export const LIST: Operation = {
  operationId: 'listInstances',
  summary: 'The instances that are registered, by environment, application and id',
  tag: TAG,
  kind: 'call',
  query: {
    environment: ENVIRONMENT_ID,
    application: TEXT,
    cursor: described(TEXT, 'next of the page before'),
    size: { ...NUMBER_FROM_1, default: 100 },
  },
  answers: {
    200: {
      description: 'Of all servers, as this one knows them',
      schema: object({ items: list(refTo(INSTANCE)), next: nullable(TEXT) }),
    },
    ...READ_PROBLEMS,
  },
};

/** `GET /api/v1/instances/{environment}/{application}/{id}` */
export const GET: Operation = {
  operationId: 'getInstance',
  summary: 'One instance',
  tag: TAG,
  kind: 'call',
  params: PLACE,
  answers: { ...ONE, ...READ_PROBLEMS },
};

/** `PUT /api/v1/instances/{environment}/{application}/{id}` */
export const KEEP: Operation = {
  operationId: 'keepInstance',
  summary:
    'Registers an instance or renews it, and takes what it says; to be sent again before its time is over',
  tag: TAG,
  kind: 'call',
  params: PLACE,
  body: strictObject({
    version: LABEL,
    region: LABEL,
    ttlSeconds: described(
      { type: 'number', minimum: 1, maximum: 3_600, default: 60 },
      'How long it lasts from now on',
    ),
    ...REPORT,
  }),
  answers: {
    ...ONE,
    201: { description: 'Registered', schema: refTo(INSTANCE) },
    ...READ_PROBLEMS,
    ...BUSY,
  },
};

/** `POST /api/v1/instances/{environment}/{application}/{id}/report` */
export const TELL: Operation = {
  operationId: 'reportInstance',
  summary: 'What an instance says that registered at this server, also with its stream',
  tag: TAG,
  kind: 'call',
  params: PLACE,
  body: strictObject(REPORT),
  answers: { ...ONE, ...READ_PROBLEMS },
};

/** `DELETE /api/v1/instances/{environment}/{application}/{id}` */
export const END: Operation = {
  operationId: 'deregisterInstance',
  summary: 'Ends the registration of an instance at this server',
  tag: TAG,
  kind: 'call',
  params: PLACE,
  answers: { 204: { description: 'Gone', schema: null }, ...READ_PROBLEMS },
};
