import { expect } from 'vitest';
import { hasFeature, ON_OFF } from '../flag-cases.ts';
import { type CaseTable, casesOf, ETAG, some, TEXT } from '../operation-cases.ts';

const at = (key: string) => ({ application: 'ofrep', environment: 'production', key });
const METADATA = { owner: 'checkout', tier: 2, beta: true };
const SPLIT = {
  ...ON_OFF,
  fallthrough: {
    split: {
      weights: [
        { variant: 'on', weight: 5_000 },
        { variant: 'off', weight: 5_000 },
      ],
    },
  },
};
const CONTEXT = { context: { targetingKey: 'ada' } };

/** A failure as the protocol has it. */
const failed = (errorCode: string, more: object = {}) => ({
  errorCode,
  errorDetails: expect.stringMatching(/\S/),
  ...more,
});

/** The same questions, asked with the scope in the query or in the path. */
function asked(
  path: (rest: string, scope?: { readonly application?: string; readonly environment?: string }) => string,
) {
  const one = casesOf('POST', path('/static'));
  const all = casesOf('POST', path(''));
  const nobody = { application: 'nobody' };
  return {
    one: {
      good: [
        one('one flag, with every field', 200, {
          body: CONTEXT,
          answer: { key: 'static', value: true, reason: 'STATIC', variant: 'on', metadata: METADATA },
          answerHeaders: { 'cache-control': 'no-store', 'conclave-revision': expect.stringMatching(/^\d+$/) },
        }),
        one('one that is split', 200, {
          path: path('/split'),
          body: CONTEXT,
          answer: some({ key: 'split', reason: 'SPLIT', value: expect.any(Boolean) }),
        }),
        one('one that leaves it to the caller', 200, {
          path: path('/valueless'),
          body: CONTEXT,
          answer: { key: 'valueless', reason: 'DISABLED', metadata: {} },
        }),
      ],
      bad: [
        one('an unknown flag', 404, {
          path: path('/never-made'),
          body: CONTEXT,
          answer: failed('FLAG_NOT_FOUND', { key: 'never-made', metadata: {} }),
        }),
        one('nobody, of a flag that needs somebody', 400, {
          path: path('/split'),
          body: {},
          answer: failed('TARGETING_KEY_MISSING', { key: 'split', metadata: {} }),
        }),
        one('a targeting key that is none', 400, {
          path: path('/split'),
          body: { context: { targetingKey: 7 } },
          answer: failed('INVALID_CONTEXT', { key: 'split', metadata: {} }),
        }),
        one('a context that is none', 400, {
          body: { context: 'me' },
          answer: failed('INVALID_CONTEXT', { key: 'static' }),
        }),
        one('an unknown application', 404, {
          path: path('/static', nobody),
          body: CONTEXT,
          answer: failed('FLAG_NOT_FOUND', { key: 'static' }),
        }),
        one('an environment that is none', 400, {
          path: path('/static', { environment: '%21' }),
          body: CONTEXT,
          answer: failed('GENERAL', { key: 'static' }),
        }),
      ],
    },
    all: {
      good: [
        all('all flags, each with its answer', 200, {
          body: {},
          answer: {
            flags: [
              { key: 'split', metadata: {}, ...failed('TARGETING_KEY_MISSING') },
              { key: 'static', value: true, reason: 'STATIC', variant: 'on', metadata: METADATA },
              { key: 'valueless', reason: 'DISABLED', metadata: {} },
            ],
            eventStreams: [
              {
                type: 'sse',
                endpoint: {
                  requestUri: '/ofrep/v1/events?tenant=default&environment=production&application=ofrep',
                },
                inactivityDelaySec: 120,
              },
            ],
          },
          answerHeaders: { etag: ETAG },
        }),
        all('for somebody', 200, {
          body: CONTEXT,
          answer: some({ flags: [some({ key: 'split', reason: 'SPLIT' }), some({}), some({})] }),
        }),
      ],
      bad: [
        all('a context that is none', 400, { body: { context: [] }, answer: failed('INVALID_CONTEXT') }),
        all('a body that is none', 400, { body: [], answer: failed('PARSE_ERROR') }),
        all('an unknown application', 404, { path: path('', nobody), body: {}, answer: failed('GENERAL') }),
        all('an unknown environment', 404, {
          path: path('', { environment: 'moon' }),
          body: {},
          answer: failed('GENERAL'),
        }),
      ],
    },
  };
}

const byQuery = asked((rest, { application = 'ofrep', environment = 'PROD' } = {}) => {
  return `/ofrep/v1/evaluate/flags${rest}?application=${application}&environment=${environment}`;
});
const byPath = asked((rest, { application = 'ofrep', environment = 'PROD' } = {}) => {
  return `/flags/${application}/${environment}/ofrep/v1/evaluate/flags${rest}`;
});

/** OpenFeature's remote evaluation; its streams of events have tests of their own. */
export const OFREP: CaseTable = {
  ofrepFlag: {
    given: [
      hasFeature('flag', at('static'), { ...ON_OFF, metadata: METADATA }),
      hasFeature('flag', at('split'), SPLIT),
      hasFeature('flag', at('valueless'), { ...ON_OFF, enabled: false, offVariant: null }),
    ],
    good: [
      ...byQuery.one.good,
      casesOf('POST', '/ofrep/v1/evaluate/flags/static')('whose flags by header fields', 200, {
        body: CONTEXT,
        headers: { 'x-conclave-application': 'ofrep', 'x-conclave-environment': 'prod' },
        answer: some({ key: 'static', value: true }),
      }),
    ],
    bad: [
      ...byQuery.one.bad,
      casesOf('POST', '/ofrep/v1/evaluate/flags/static')('nobody’s flags', 400, {
        body: CONTEXT,
        answer: failed('GENERAL', { key: 'static', errorDetails: TEXT }),
      }),
    ],
  },
  ofrepFlags: byQuery.all,
  ofrepScopedFlag: byPath.one,
  ofrepScopedFlags: byPath.all,
};
