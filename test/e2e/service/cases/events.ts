import { expect } from 'vitest';
import { type CaseTable, casesOf, has, MASK, NUMBER, TEXT, TIME } from '../operation-cases.ts';

const at = { application: 'told', environment: 'test' };
const poll = casesOf('GET', '/api/v1/events?application=told&environment=TEST&waitMs=0');

/** The next events, one answer at a time; streams of them have tests of their own. */
export const EVENTS: CaseTable = {
  streamEvents: {
    given: [has({ ...at, key: 'password' }, 'of the events', { type: 'secret' })],
    good: [
      poll('nothing yet', 200, { answer: { events: [], next: TEXT } }),
      poll('one that was, with every field', 200, {
        at: '&revision=1',
        answer: {
          events: [
            {
              event_id: TEXT,
              timestamp: TIME,
              revision: NUMBER,
              cursor: expect.stringMatching(/^\d+/),
              type: 'created',
              configuration_updated: {
                config_key: 'told.password',
                service_name: 'told',
                environment: 'TEST',
                old_value: null,
                new_value: MASK,
                updated_by: 'anonymous',
                reason: '',
                version: 1,
                rollback_available: false,
                affected_instances: [],
              },
            },
          ],
          next: TEXT,
        },
      }),
    ],
    bad: [
      poll('an unknown application', 404, {
        path: '/api/v1/events?application=nobody&waitMs=0',
        fields: ['application'],
      }),
      poll('a revision that is none', 400, { at: '&revision=x', fields: ['revision'] }),
      poll('a revision that never was', 410, { at: `&revision=${2 ** 40}` }),
      poll('an environment that is none', 400, {
        path: '/api/v1/events?environment=a%2Fb',
        fields: ['environment'],
      }),
      poll('a wait that is none', 400, { path: '/api/v1/events?waitMs=-1', fields: ['waitMs'] }),
      poll('an instance, which a poll keeps not', 400, { at: '&instance=pod-1', fields: ['instance'] }),
      poll('an unknown parameter', 400, { at: '&since=1', fields: ['since'] }),
    ],
  },
};
