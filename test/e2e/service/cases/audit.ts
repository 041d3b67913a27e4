import { expect } from 'vitest';
import { type CaseTable, casesOf, has, MASK, NUMBER, some, TEXT, TIME } from '../operation-cases.ts';

const PATH = '/api/v1/audit';
const MEANT = '?application=audited';
const list = casesOf('GET', `${PATH}${MEANT}`);
const exported = casesOf('GET', `${PATH}/export${MEANT}`);
const seal = casesOf('GET', `${PATH}/seal`);

const masked = { type: 'secret', value: MASK, masked: true };
const ENTRY = {
  id: TEXT,
  revision: NUMBER,
  at: TIME,
  actor: { name: 'anonymous', authenticated: false, claimed: null, address: TEXT, agent: TEXT },
  operation: 'bulk',
  reason: '',
  changeSet: null,
};
const ITEM = {
  kind: 'configuration',
  environment: 'test',
  application: 'audited',
  configurationId: TEXT,
  fields: [],
  versionsNotKept: [],
};
const at = { application: 'audited', environment: 'test' };
const HEADER =
  'revision,change_id,at,actor,authenticated,claimed,address,agent,operation,reason,change_set,' +
  'kind,type,environment,application,key,version_before,version_after,old_value,new_value,fields\r\n';

/** What both that list take. */
const badFilters = (make: typeof list) => [
  make('a time that is none', 400, { at: '&from=soon', fields: ['from'] }),
  make('an operation that is none', 400, { at: '&operation=steal', fields: ['operation'] }),
  make('an environment that is none', 400, { at: '&environment=a%2Fb', fields: ['environment'] }),
  make('an unknown parameter', 400, { at: '&who=me', fields: ['who'] }),
];

/** Who did what. */
export const AUDIT: CaseTable = {
  listAudit: {
    given: [
      has({ ...at, key: 'k' }, 1),
      has({ ...at, key: 'k' }, 2),
      has({ ...at, key: 'password' }, 'of the audit', { type: 'secret' }),
    ],
    good: [
      list('a change, with every field', 200, {
        at: '&key=k&environment=TEST&size=1',
        answer: {
          items: [
            {
              ...ENTRY,
              items: [
                {
                  ...ITEM,
                  key: 'k',
                  type: 'updated',
                  versionBefore: 1,
                  versionAfter: 2,
                  oldValue: { type: 'integer', value: 1, masked: false },
                  newValue: { type: 'integer', value: 2, masked: false },
                },
              ],
            },
          ],
          next: NUMBER,
        },
      }),
      list('a secret masked', 200, {
        at: '&keyPrefix=pass',
        answer: {
          items: [some({ items: [some({ type: 'created', oldValue: null, newValue: masked })] })],
          next: null,
        },
      }),
      list('nothing of what nobody did', 200, {
        at: '&actor=nobody&operation=rollback&changeSet=none&to=2020-01-01T00:00:00Z',
        answer: { items: [], next: null },
      }),
    ],
    bad: [
      ...badFilters(list),
      list('a cursor that is none', 400, { at: '&cursor=x', fields: ['cursor'] }),
      list('a page too large', 400, { at: '&size=1001', fields: ['size'] }),
      list('a page of nothing', 400, { at: '&size=0', fields: ['size'] }),
    ],
  },
  exportAudit: {
    good: [
      exported('lines of JSON', 200, {
        at: '&keyPrefix=pass',
        answer: /^\{"id":.*"newValue":\{"type":"secret","value":"\*{8}","masked":true\}.*\}\n$/,
        answerHeaders: { 'content-type': 'application/x-ndjson; charset=utf-8' },
      }),
      exported('CSV, with its header', 200, {
        at: '&format=csv&actor=nobody',
        answer: HEADER,
        answerHeaders: { 'content-type': 'text/csv; charset=utf-8' },
      }),
      exported('CSV, a line for each thing', 200, {
        at: '&format=csv',
        answer:
          /^revision,.*\r\n.*,password,0,1,,"""\*{8}""",\r\n.*,k,1,2,1,2,\r\n.*,k,0,1,,1,\r\n.*,application,.*\r\n$/,
      }),
    ],
    bad: [
      ...badFilters(exported),
      exported('a format that is none', 400, { at: '&format=xml', fields: ['format'] }),
      exported('pages', 400, { at: '&size=5', fields: ['size'] }),
    ],
  },
  getAuditSeal: {
    good: [
      seal('how far the chain reaches', 200, {
        answer: { sealed: NUMBER, revision: NUMBER, anchor: expect.stringMatching(/^\d+:[\w-]*$/) },
      }),
    ],
    bad: [seal('an unknown parameter', 400, { at: '?from=x', fields: ['from'] })],
  },
};
