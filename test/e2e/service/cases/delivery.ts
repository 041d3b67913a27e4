import { expect } from 'vitest';
import {
  type Case,
  type CaseTable,
  casesOf,
  has,
  idOf,
  NUMBER,
  some,
  TEXT,
  TIME,
} from '../operation-cases.ts';

const INSTANCES = '/api/v1/instances';
const at = { application: 'delivered', environment: 'test', key: 'k' };
const place = (id: string, scope = 'TEST/delivered'): string => `${INSTANCES}/${scope}/${id}`;
const report = casesOf('GET', '/api/v1/delivery');
const list = casesOf('GET', `${INSTANCES}?application=delivered`);
const get = casesOf('GET', place('pod-read'));
const keep = casesOf('PUT', place('pod-kept'));
const tell = casesOf('POST', `${place('pod-told')}/report`);
const end = casesOf('DELETE', place('pod-ended'));

/** An instance that is there. */
const runs = (id: string, scope?: string): Case => ({
  title: 'given',
  method: 'PUT',
  path: place(id, scope),
  body: { version: '1.2', region: 'eu', ttlSeconds: 3_600, applied: 1 },
  status: 201,
});
const instance = (id: string, fields: object = {}) => ({
  id,
  environment: 'test',
  application: 'delivered',
  version: '1.2',
  region: 'eu',
  since: TIME,
  applied: 1,
  rejected: null,
  reportedAt: TIME,
  ...fields,
});

const LONG_ID = 'i'.repeat(201);
/** What all that name an instance are asked wrongly. */
const badPlaces = (make: typeof get, more: { readonly body?: unknown } = {}, below = ''): Case[] => [
  make('an environment that is none', 400, {
    path: place('pod', 'a%2Fb/delivered') + below,
    fields: ['environment'],
    ...more,
  }),
  make('an application that is none', 400, {
    path: place('pod', 'TEST/a%20b') + below,
    fields: ['application'],
    ...more,
  }),
  make('an id too long', 400, { path: place(LONG_ID) + below, fields: ['id'], ...more }),
];
const BEYOND = { revision: 2 ** 40, reason: 'no' };

/** Who runs what, and who has which change. */
export const DELIVERY: CaseTable = {
  getDelivery: {
    given: [has(at, 1), runs('pod-1'), has({ ...at, application: 'unrun' }, 1)],
    good: [
      report('of a configuration by its name, with every field', 200, {
        at: '?application=delivered&environment=TEST&key=k',
        answer: {
          revision: NUMBER,
          changeId: TEXT,
          at: TIME,
          operation: 'bulk',
          counts: { applied: 0, lagging: 1, rejected: 0 },
          instances: [
            {
              id: 'pod-1',
              environment: 'test',
              application: 'delivered',
              version: '1.2',
              region: 'eu',
              state: 'lagging',
              applied: 1,
              reason: null,
              reportedAt: TIME,
            },
          ],
        },
      }),
      report('of a configuration by its id', 200, {
        at: `?configuration=${idOf({ ...at, application: 'unrun' })}`,
        answer: some({ counts: { applied: 0, lagging: 0, rejected: 0 }, instances: [] }),
      }),
    ],
    bad: [
      report('nothing', 400, { fields: ['revision'] }),
      report('half a name', 400, { at: '?application=delivered', fields: ['environment', 'key'] }),
      report('a revision and a configuration', 400, { at: '?revision=5&key=k', fields: ['revision'] }),
      report('a name and an id', 400, { at: '?configuration=x&key=k', fields: ['configuration'] }),
      report('a revision that is none', 400, { at: '?revision=0', fields: ['revision'] }),
      report('a revision at which nothing was changed', 404, {
        at: `?revision=${2 ** 40}`,
        fields: ['revision'],
      }),
      report('an unknown configuration', 404, {
        at: `?configuration=${idOf({ ...at, key: 'none' })}`,
        fields: ['configuration'],
      }),
    ],
  },
  listInstances: {
    given: [runs('pod-listed', 'DEV/delivered')],
    good: [
      list('those of an environment, with every field', 200, {
        at: '&environment=DEV',
        answer: { items: [instance('pod-listed', { environment: 'development' })], next: null },
      }),
      list('a page', 200, {
        at: '&size=1',
        answer: { items: [some({ id: 'pod-listed' })], next: expect.stringMatching(/./) },
      }),
      list('the page after it', 200, {
        at: `&cursor=${Buffer.from('development/delivered/pod-listed').toString('base64url')}`,
        answer: { items: [instance('pod-1')], next: null },
      }),
    ],
    bad: [
      list('a page too large', 400, { at: '&size=1001', fields: ['size'] }),
      list('a cursor that is none', 400, { at: '&cursor=x', fields: ['cursor'] }),
      list('an environment that is none', 400, { at: '&environment=a%2Fb', fields: ['environment'] }),
      list('an unknown parameter', 400, { at: '&region=eu', fields: ['region'] }),
    ],
  },
  getInstance: {
    given: [runs('pod-read')],
    good: [get('one, with every field', 200, { answer: instance('pod-read') })],
    bad: [get('an unknown one', 404, { path: place('nobody'), fields: ['id'] }), ...badPlaces(get)],
  },
  keepInstance: {
    good: [
      keep('a new one', 201, {
        body: { version: '1.2', region: 'eu' },
        answer: instance('pod-kept', { applied: 0 }),
      }),
      keep('renews it, and takes what it says', 200, {
        body: { version: '1.3', region: 'eu', applied: 1, rejected: { revision: 2, reason: 'too large' } },
        answer: instance('pod-kept', { version: '1.3', rejected: { revision: 2, reason: 'too large' } }),
      }),
    ],
    bad: [
      keep('a time that is none', 400, { body: { ttlSeconds: 0 }, fields: ['ttlSeconds'] }),
      keep('too long a time', 400, { body: { ttlSeconds: 3_601 }, fields: ['ttlSeconds'] }),
      keep('a version too long', 400, { body: { version: 'v'.repeat(101) }, fields: ['version'] }),
      keep('what the store has not reached', 400, { body: { applied: 2 ** 40 }, fields: ['applied'] }),
      keep('half a rejection', 400, { body: { rejected: { revision: 1 } }, fields: ['rejected/reason'] }),
      keep('an unknown field', 400, { body: { owner: 'me' }, fields: ['owner'] }),
      ...badPlaces(keep, { body: {} }),
    ],
  },
  reportInstance: {
    given: [runs('pod-told')],
    good: [tell('what it uses', 200, { body: { applied: 2 }, answer: instance('pod-told', { applied: 2 }) })],
    bad: [
      tell('one that is not there', 404, {
        path: `${place('nobody')}/report`,
        body: { applied: 1 },
        fields: ['id'],
      }),
      tell('what the store has not reached', 400, {
        body: { rejected: BEYOND },
        fields: ['rejected/revision'],
      }),
      tell('an unknown field', 400, { body: { ttlSeconds: 5 }, fields: ['ttlSeconds'] }),
      ...badPlaces(tell, { body: {} }, '/report'),
    ],
  },
  deregisterInstance: {
    given: [runs('pod-ended')],
    good: [end('one', 204, { answer: null })],
    bad: [end('what is gone', 404, { fields: ['id'] }), ...badPlaces(end)],
  },
};
