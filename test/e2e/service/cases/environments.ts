import { expect } from 'vitest';
import {
  type CaseTable,
  casesOf,
  ETAG,
  given,
  has,
  type OperationCases,
  STALE,
  some,
  TIME,
} from '../operation-cases.ts';

/** The environments as a collection, which two dialects have at paths of their own. */
function collection(path: string, prefix: string): CaseTable {
  const id = (name: string): string => `${prefix}-${name}`;
  const [list, create] = [casesOf('GET', path), casesOf('POST', path)];
  const one = (method: 'GET' | 'PUT' | 'DELETE', name: string) => casesOf(method, `${path}/${id(name)}`);
  const [get, update, remove] = [one('GET', 'read'), one('PUT', 'changed'), one('DELETE', 'removed')];
  const wanted = {
    id: id('new').toUpperCase(),
    description: 'Frankfurt',
    parent: 'PROD',
    rules: { locked: false, promoteOnlyFrom: 'STAGING', reasonRequired: true },
  };
  const environment = (name: string, fields: object) => ({
    id: id(name),
    name: id(name).toUpperCase(),
    description: '',
    parent: null,
    inherits: [],
    rules: { locked: false, promoteOnlyFrom: null, reasonRequired: false },
    standard: false,
    version: 1,
    createdBy: 'anonymous',
    createdAt: TIME,
    updatedBy: 'anonymous',
    updatedAt: TIME,
    ...fields,
  });
  const made = (name: string, fields: object = {}) => given('POST', path, { id: id(name), ...fields });
  const operations: Record<'List' | 'Create' | 'Get' | 'Update' | 'Delete', OperationCases> = {
    List: {
      given: [made('listed')],
      good: [
        list('the standard ones, then the others', 200, {
          answer: {
            items: expect.arrayContaining([
              some({ id: 'development', name: 'DEV', standard: true }),
              some({ id: 'test', name: 'TEST', standard: true }),
              some({ id: 'staging', name: 'STAGING', standard: true }),
              some({ id: 'production', name: 'PROD', standard: true, version: 0 }),
              environment('listed', {}),
            ]),
          },
        }),
      ],
      bad: [list('an unknown parameter', 400, { at: '?page=1', fields: ['page'] })],
    },
    Create: {
      given: [made('there')],
      good: [
        create('one with every field', 201, {
          body: { ...wanted, reason: 'a new region' },
          answer: environment('new', {
            description: 'Frankfurt',
            parent: 'production',
            inherits: ['production'],
            rules: { locked: false, promoteOnlyFrom: 'staging', reasonRequired: true },
          }),
          answerHeaders: { location: `${path}/${id('new')}`, etag: ETAG },
        }),
      ],
      bad: [
        create('nothing', 400, { body: {}, fields: ['id'] }),
        create('a name too long', 400, { body: { id: 'x'.repeat(21) }, fields: ['id'] }),
        create('a name that is none', 400, { body: { id: 'a/b' }, fields: ['id'] }),
        create('a standard one', 409, { body: { id: 'dev' }, fields: ['id'] }),
        create('a duplicate', 409, { body: { id: id('there') }, fields: ['id'] }),
        create('an unknown parent', 400, { body: { id: id('x'), parent: 'moon' }, fields: ['parent'] }),
        create('itself for a parent', 400, { body: { id: id('x'), parent: id('x') }, fields: ['parent'] }),
        create('rules that are none', 400, {
          body: { id: id('x'), rules: { locked: 'yes' } },
          fields: ['rules/locked'],
        }),
        create('an unknown source of promotions', 400, {
          body: { id: id('x'), rules: { promoteOnlyFrom: 'moon' } },
          fields: ['rules/promoteOnlyFrom'],
        }),
        create('an unknown field', 400, { body: { id: id('x'), parnet: 'dev' }, fields: ['parnet'] }),
      ],
    },
    Get: {
      given: [made('read', { description: 'd', parent: 'test' })],
      good: [
        get('one, with every field', 200, {
          answer: environment('read', { description: 'd', parent: 'test', inherits: ['test'] }),
          answerHeaders: { etag: ETAG },
        }),
        get('a standard one that nobody has changed', 200, {
          path: `${path}/PRODUCTION`,
          answer: {
            id: 'production',
            name: 'PROD',
            description: '',
            parent: null,
            inherits: [],
            rules: { locked: false, promoteOnlyFrom: null, reasonRequired: false },
            standard: true,
            version: 0,
          },
        }),
      ],
      bad: [
        get('an unknown one', 404, { path: `${path}/moon`, fields: ['id'] }),
        get('a name that is none', 400, { path: `${path}/%21`, fields: ['id'] }),
      ],
    },
    Update: {
      given: [made('changed', { parent: 'production' }), made('heir', { parent: id('changed') })],
      good: [
        update('what it names, and nothing else', 200, {
          body: { description: 'new', rules: { reasonRequired: true }, reason: 'why' },
          answer: environment('changed', {
            description: 'new',
            parent: 'production',
            inherits: ['production'],
            rules: { locked: false, promoteOnlyFrom: null, reasonRequired: true },
            version: 2,
          }),
        }),
        update('the parent away', 200, {
          body: { parent: null, rules: { reasonRequired: false }, reason: 'why' },
          answer: some({ parent: null, inherits: [] }),
        }),
      ],
      bad: [
        update('an inheritance cycle', 400, { body: { parent: id('heir') }, fields: ['parent'] }),
        update('an unknown parent', 400, { body: { parent: 'moon' }, fields: ['parent'] }),
        update('an unknown rule', 400, { body: { rules: { frozen: true } }, fields: ['rules/frozen'] }),
        update('a stale entity tag', 412, { body: { description: '' }, headers: STALE }),
        update('an unknown one', 404, { path: `${path}/moon`, body: {}, fields: ['id'] }),
      ],
    },
    Delete: {
      given: [
        made('removed'),
        made('base'),
        made('above', { parent: id('base') }),
        made('full'),
        has({ application: 'used', environment: id('full'), key: 'k' }, 1),
      ],
      good: [remove('one with nothing in it', 204, { answer: null })],
      bad: [
        remove('what is gone', 404, { fields: ['id'] }),
        remove('what others inherit from', 409, { path: `${path}/${id('base')}` }),
        remove('what has configurations', 409, { path: `${path}/${id('full')}` }),
        remove('a standard one', 409, { path: `${path}/test` }),
        remove('a stale entity tag', 412, { path: `${path}/${id('above')}`, headers: STALE }),
      ],
    },
  };
  return Object.fromEntries(
    Object.entries(operations).map(([name, cases]) => [
      `${prefix}${name}Environment${name === 'List' ? 's' : ''}`,
      cases,
    ]),
  );
}

/** 000's `/environments/control`, and ours. */
export const ENVIRONMENTS: CaseTable = {
  ...collection('/environments/control', 'control'),
  ...collection('/api/v1/environments', 'v1'),
};
