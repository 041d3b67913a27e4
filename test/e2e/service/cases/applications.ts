import { expect } from 'vitest';
import { type CaseTable, casesOf, ETAG, given, has, STALE, some, TEXT, TIME } from '../operation-cases.ts';

const PATH = '/api/v1/applications';
const [list, create] = [casesOf('GET', PATH), casesOf('POST', PATH)];
const get = casesOf('GET', `${PATH}/app-read`);
const update = casesOf('PUT', `${PATH}/app-changed`);
const remove = casesOf('DELETE', `${PATH}/app-removed`);
const BOUNDS = {
  name: 'bounds',
  expression: 'config["min"] <= config["max"]',
  message: 'min is above max',
};
const WHOLE = { description: 'Payments', defaults: { min: 1, max: 2 }, rules: [BOUNDS] };
const application = (fields: object) => ({
  tenant: 'default',
  description: '',
  defaults: {},
  rules: [],
  createdBy: 'anonymous',
  createdAt: TIME,
  updatedBy: 'anonymous',
  updatedAt: TIME,
  version: 1,
  etag: TEXT,
  ...fields,
});

export const APPLICATIONS: CaseTable = {
  listApplications: {
    given: [given('POST', PATH, { name: 'app-listed' })],
    good: [
      list('all, with every field', 200, {
        answer: { items: expect.arrayContaining([application({ name: 'app-listed' })]) },
      }),
    ],
    bad: [list('an unknown parameter', 400, { at: '?name=x', fields: ['name'] })],
  },
  createApplication: {
    given: [given('POST', PATH, { name: 'app-there' })],
    good: [
      create('one with every field', 201, {
        body: { name: 'app-new', ...WHOLE, reason: 'new' },
        answer: application({ name: 'app-new', ...WHOLE }),
        answerHeaders: { location: `${PATH}/app-new`, etag: ETAG },
      }),
    ],
    bad: [
      create('nothing', 400, { body: {}, fields: ['name'] }),
      create('a name that is none', 400, { body: { name: 'a/b' }, fields: ['name'] }),
      create('a name too long', 400, { body: { name: 'a'.repeat(101) }, fields: ['name'] }),
      create('a duplicate', 409, { body: { name: 'app-there' }, fields: ['name'] }),
      create('a rule that is none', 400, {
        body: { name: 'app-x', rules: [{ ...BOUNDS, expression: 'config[' }] },
        fields: ['rules/0/expression'],
      }),
      create('half a rule', 400, {
        body: { name: 'app-x', rules: [{ name: 'n' }] },
        fields: ['rules/0/expression', 'rules/0/message'],
      }),
      create('a default of a key that is none', 400, {
        body: { name: 'app-x', defaults: { 'a b': 1 } },
        fields: ['defaults/a b/key'],
      }),
      create('an unknown field', 400, { body: { name: 'app-x', owner: 'me' }, fields: ['owner'] }),
    ],
  },
  getApplication: {
    given: [given('POST', PATH, { name: 'app-read', ...WHOLE })],
    good: [
      get('one, with every field', 200, {
        answer: application({ name: 'app-read', ...WHOLE }),
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [
      get('an unknown one', 404, { path: `${PATH}/nobody`, fields: ['name'] }),
      get('a name that is none', 400, { path: `${PATH}/a%2Fb`, fields: ['name'] }),
    ],
  },
  updateApplication: {
    given: [
      given('POST', PATH, { name: 'app-changed', ...WHOLE }),
      has({ application: 'app-changed', environment: 'test', key: 'max' }, 5),
    ],
    good: [
      update('what it names, and nothing else', 200, {
        body: { description: 'new' },
        answer: some({ description: 'new', defaults: WHOLE.defaults, rules: WHOLE.rules, version: 2 }),
      }),
    ],
    bad: [
      update('a rule that what is there breaks', 400, {
        body: { rules: [{ ...BOUNDS, expression: 'config["max"] < 3' }] },
        fields: expect.any(Array) as unknown as string[],
      }),
      update('a stale entity tag', 412, { body: { description: '' }, headers: STALE }),
      update('an unknown one', 404, { path: `${PATH}/nobody`, body: {}, fields: ['name'] }),
      update('an unknown field', 400, { body: { owner: 'me' }, fields: ['owner'] }),
    ],
  },
  deleteApplication: {
    given: [
      given('POST', PATH, { name: 'app-removed' }),
      has({ application: 'app-full', environment: 'test', key: 'k' }, 1),
    ],
    good: [remove('one without configurations', 204, { answer: null })],
    bad: [
      remove('what is gone', 404, { fields: ['name'] }),
      remove('one with configurations', 409, { path: `${PATH}/app-full` }),
      remove('a stale entity tag', 412, { path: `${PATH}/app-there`, headers: STALE }),
    ],
  },
};
