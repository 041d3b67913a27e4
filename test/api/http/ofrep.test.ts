import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canonicalJson, evaluationTag } from '../../../src/api/http/ofrep/entity-tag.ts';
import { compileFlags } from '../../../src/evaluation/flag-set.ts';
import type { Json } from '../../../src/service/model.ts';
import { flagOf, NEW_YEAR_MS } from '../../evaluation/fixture.ts';
import { FLAGS, FlagWorld } from '../../flags/flag-world.ts';
import { ada } from '../../service/world.ts';
import { eventually } from '../../support/eventually.ts';
import { inRestWorld, type RestWorld } from './rest/rest-world.ts';

const SCOPE = { tenant: 'default', environment: 'production', application: 'shop' } as const;
const QUERY = '?application=shop&environment=PROD';

async function inFlags<T>(
  run: (world: RestWorld) => Promise<T>,
  options: Parameters<typeof inRestWorld>[1] = {},
) {
  return inRestWorld(async (world) => {
    for (const [key, definition] of Object.entries(FLAGS)) {
      await world.service.features.create(ada, { name: { ...SCOPE, kind: 'flag', key }, definition });
    }
    return run(world);
  }, options);
}

const evaluate = (key: string, query = QUERY): string => `/ofrep/v1/evaluate/flags/${key}${query}`;
const ALL = `/ofrep/v1/evaluate/flags${QUERY}`;

describe('one flag', () => {
  test('is answered with value, variant, reason and metadata', async () => {
    await inFlags(async ({ post }) => {
      const answer = await post(evaluate('static-on'), {});
      expect(answer.status).toBe(200);
      expect(answer.headers['cache-control']).toBe('no-store');
      expect(Number(answer.headers['conclave-revision'])).toBeGreaterThan(0);
      expect(answer.body).toEqual({
        key: 'static-on',
        value: true,
        reason: 'STATIC',
        variant: 'on',
        metadata: { owner: 'checkout', tier: 2, beta: true },
      });
      const staff = { context: { targetingKey: 'u', email: 'ada@shop.example' } };
      expect((await post(evaluate('greeting'), staff)).body).toMatchObject({ reason: 'TARGETING_MATCH' });
      expect((await post(evaluate('valueless'), {})).body).toEqual({
        key: 'valueless',
        reason: 'DISABLED',
        metadata: {},
      });
    });
  });

  test('tells errors by code and status', async () => {
    const cases = [
      ['nothing', {}, 404, 'FLAG_NOT_FOUND'],
      ['experiment', {}, 400, 'TARGETING_KEY_MISSING'],
      ['experiment', { context: { targetingKey: 7 } }, 400, 'INVALID_CONTEXT'],
      ['static-on', { context: 'me' }, 400, 'INVALID_CONTEXT'],
      ['static-on', [], 400, 'PARSE_ERROR'],
    ] as const;
    await inFlags(async ({ post }) => {
      for (const [key, body, status, errorCode] of cases) {
        const answer = await post(evaluate(key), body);
        const told = { key, errorCode, errorDetails: expect.stringMatching(/./) };
        expect(answer).toMatchObject({ status, body: told });
        expect(answer.headers['content-type']).toMatch(/^application\/json/);
      }
    });
  });

  test('a request that is no JSON, or too large, is told so', async () => {
    await inFlags(async ({ call }) => {
      const headers = { 'content-type': 'application/json' };
      const broken = await call('POST', evaluate('static-on'), { headers, payload: '{"context":' });
      expect(broken).toMatchObject({ status: 400, body: { errorCode: 'PARSE_ERROR' } });
      const large = JSON.stringify({ context: { note: 'x'.repeat(64 * 1024) } });
      const refused = await call('POST', evaluate('static-on'), { headers, payload: large });
      expect(refused).toMatchObject({ status: 413, body: { errorCode: 'INVALID_CONTEXT' } });
    });
  });
});

describe('whose flags', () => {
  test('say the query, headers, or the path, in this order', async () => {
    await inFlags(async ({ post }) => {
      const headers = { 'x-conclave-application': 'shop', 'x-conclave-environment': 'prod' };
      expect(await post(evaluate('static-on', ''), {}, headers)).toMatchObject({ status: 200 });
      expect(await post('/flags/shop/PRODUCTION/ofrep/v1/evaluate/flags/static-on', {})).toMatchObject({
        status: 200,
      });
      const other = { 'x-conclave-application': 'other' };
      expect(await post(evaluate('static-on'), {}, other)).toMatchObject({ status: 200 });
      expect(await post(`/flags/other/DEV${evaluate('static-on')}`, {})).toMatchObject({ status: 200 });
    });
  });

  test('must be flags that are there', async () => {
    const cases = [
      ['', 400, 'GENERAL'],
      ['?application=shop&environment=no%20name', 400, 'GENERAL'],
      ['?application=nobodys&environment=PROD', 404, 'FLAG_NOT_FOUND'],
      ['?application=shop&environment=mars', 404, 'FLAG_NOT_FOUND'],
    ] as const;
    await inFlags(async ({ post }) => {
      for (const [query, status, errorCode] of cases) {
        const answer = await post(evaluate('static-on', query), {});
        expect(answer, query).toMatchObject({ status, body: { errorCode } });
      }
    });
  });

  test('without an environment it is the default one', async () => {
    await inFlags(
      async ({ post }) => {
        expect(await post(evaluate('static-on', '?application=shop'), {})).toMatchObject({ status: 200 });
      },
      { rest: { defaultEnvironment: 'production' } },
    );
  });

  test('a token may come as an API key, and is asked for where the store wants to know', async () => {
    const kv = {
      authEnabled: async () => true,
      permits: async () => ({ user: 'ada', permitted: true }),
      signIn: async () => 'good',
    };
    await inFlags(
      async ({ post }) => {
        expect(await post(evaluate('static-on'), {})).toMatchObject({
          status: 401,
          body: { errorCode: 'GENERAL' },
        });
        const answer = await post(ALL, {}, { 'x-api-key': 'good' });
        expect(answer.status).toBe(200);
        // A browser could not show it there.
        expect(answer.body.eventStreams).toBeUndefined();
      },
      { identity: { kv } },
    );
  });
});

describe('all flags', () => {
  test('are answered together, each with its value or its error', async () => {
    await inFlags(async ({ post }) => {
      const { status, body } = await post(ALL, {});
      expect(status).toBe(200);
      expect(body.flags.map(({ key }: { key: string }) => key)).toEqual(Object.keys(FLAGS).sort());
      const byKey = Object.fromEntries(body.flags.map((flag: { key: string }) => [flag.key, flag]));
      expect(byKey['experiment']).toMatchObject({ errorCode: 'TARGETING_KEY_MISSING' });
      expect(byKey['limit']).toMatchObject({ value: 3, variant: 'few' });
      expect(body.eventStreams).toEqual([
        {
          type: 'sse',
          endpoint: {
            requestUri: '/ofrep/v1/events?tenant=default&environment=production&application=shop',
          },
          inactivityDelaySec: 120,
        },
      ]);
    });
  });

  test('have a tag, and are not sent again to whoever has them', async () => {
    await inFlags(async ({ post, service }) => {
      const context = { targetingKey: 'u', plan: 'pro' };
      const { headers } = await post(ALL, { context });
      const tag = { 'if-none-match': headers['etag']! };
      // The order of a context's attributes is no difference.
      const again = await post(ALL, { context: { plan: 'pro', targetingKey: 'u' } }, tag);
      expect(again).toMatchObject({ status: 304, text: '' });
      for (const other of [{ targetingKey: 'u', plan: 'free' }, { targetingKey: 'v', plan: 'pro' }, {}]) {
        expect(await post(ALL, { context: other }, tag)).toMatchObject({ status: 200 });
      }
      await service.features.update(ada, {
        ref: { ...SCOPE, kind: 'flag', key: 'limit' },
        definition: { ...FLAGS['limit']!, fallthrough: { variant: 'half' } },
      });
      expect(await post(ALL, { context }, tag)).toMatchObject({ status: 200 });
    });
  });

  test('have another tag once a schedule changes them', async () => {
    await inFlags(async ({ post, service, clock }) => {
      const at = new Date(clock.nowMs() + 60_000).toISOString();
      await service.features.create(ada, {
        name: { ...SCOPE, kind: 'flag', key: 'soon' },
        definition: { ...FLAGS['static-on']!, schedule: [{ at, set: { enabled: false } }] },
      });
      const { headers } = await post(ALL, {});
      clock.advance(59_999);
      const tag = { 'if-none-match': headers['etag']! };
      expect(await post(ALL, {}, tag)).toMatchObject({ status: 304 });
      clock.advance(1);
      expect(await post(ALL, {}, tag)).toMatchObject({ status: 200 });
    });
  });

  test('are as new as the event that a client was told of', async () => {
    await inFlags(async ({ post, service }) => {
      const revision = service.projection.revision;
      expect(await post(`${ALL}&flagConfigEtag=r${revision}`, {})).toMatchObject({ status: 200 });
      expect(
        await post(`${ALL}&flagConfigEtag=of-another-server&flagConfigLastModified=5`, {}),
      ).toMatchObject({
        status: 200,
      });
    });
  });
});

test('a tag tells contexts apart by what they say, not by how it is written', () => {
  expect(canonicalJson({ b: [1, { d: null, c: 'x' }], a: true })).toBe(
    '{"a":true,"b":[1,{"c":"x","d":null}]}',
  );
  const set = compileFlags([flagOf()]);
  const tagOf = (context: Json): string => evaluationTag({ set, digest: 'd', context, nowMs: NEW_YEAR_MS });
  expect(tagOf({ a: '1' })).not.toBe(tagOf({ a: 1 }));
  expect(tagOf({ a: { b: 1 } })).not.toBe(tagOf({ 'a.b': 1 }));
});

describe('web pages', () => {
  const options = { rest: { corsOrigins: ['https://shop.example'] } };
  const origin = (name: string) => ({ origin: name, 'access-control-request-method': 'POST' });

  test('of an origin that is allowed may evaluate, and are told so before they ask', async () => {
    await inFlags(
      async ({ call, post }) => {
        const asked = await call('OPTIONS', ALL, { headers: origin('https://shop.example') });
        expect(asked.status).toBe(204);
        expect(asked.headers).toMatchObject({
          'access-control-allow-origin': 'https://shop.example',
          'access-control-allow-methods': expect.stringContaining('POST'),
          'access-control-allow-headers': expect.stringContaining('if-none-match'),
          vary: 'Origin',
        });
        const answer = await post(ALL, {}, { origin: 'https://shop.example' });
        expect(answer.headers).toMatchObject({
          'access-control-allow-origin': 'https://shop.example',
          'access-control-expose-headers': expect.stringContaining('etag'),
        });
      },
      { ...options, identity: { requireIdentity: false } },
    );
  });

  test('of others are not, nor anybody elsewhere than at flags', async () => {
    await inFlags(async ({ call, get: read }) => {
      const asked = await call('OPTIONS', ALL, { headers: origin('https://evil.example') });
      expect(asked.headers['access-control-allow-origin']).toBeUndefined();
      const elsewhere = await read('/api/v1/applications', { origin: 'https://shop.example' });
      expect(elsewhere.headers['access-control-allow-origin']).toBeUndefined();
    }, options);
  });
});

describe('the stream of events', () => {
  let world: FlagWorld;
  const open: ClientRequest[] = [];

  beforeEach(async () => {
    world = await FlagWorld.open({ corsOrigins: ['*'] });
  });

  afterEach(async () => {
    for (const request of open.splice(0)) request.destroy();
    await world[Symbol.asyncDispose]();
    expect(world.bugs).toEqual([]);
  });

  async function listen(path: string, headers: Readonly<Record<string, string>> = {}) {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = get(`${world.httpUrl}${path}`, { headers }, resolve);
      request.on('error', reject);
      open.push(request);
    });
    let text = '';
    response.setEncoding('utf8');
    response.on('error', () => undefined);
    response.on('data', (chunk: string) => {
      text += chunk;
    });
    const ids = (): readonly number[] => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
    return { response, ids, text: () => text };
  }

  test('begins with an event, and has one for each change of these flags', async () => {
    const stream = await listen(`/ofrep/v1/events${QUERY}`);
    expect(stream.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'access-control-allow-origin': '*',
    });
    await eventually('the first event', () => stream.ids().length === 1);
    await world.put('else', FLAGS['static-on']!, { application: 'other' as 'shop' });
    const revision = await world.put('static-on', FLAGS['static-off']!);
    await eventually('the change', () => stream.ids().length === 2);
    expect(stream.ids()[1]).toBe(revision);
    const data = `data: {"type":"refetchEvaluation","etag":"r${revision}"}\n\n`;
    expect(stream.text()).toContain(`id: ${revision}\nevent: message\n${data}`);
  });

  test('goes on after the last event that a client has', async () => {
    const first = await world.put('static-on', FLAGS['static-off']!);
    const second = await world.put('static-on', FLAGS['static-on']!);
    const stream = await listen(`/flags/shop/PROD/ofrep/v1/events`, { 'last-event-id': String(first) });
    await eventually('what was missed', () => stream.ids().length > 0);
    expect(stream.ids()).toEqual([second]);
  });

  test('is refused for flags that are not there, and ends with the server', async () => {
    const refused = await listen('/ofrep/v1/events?application=nobodys&environment=PROD');
    expect(refused.response.statusCode).toBe(404);
    const stream = await listen(`/ofrep/v1/events${QUERY}`);
    const ended = new Promise((resolve) => stream.response.on('close', resolve));
    await world.closeHttp();
    await ended;
  });
});
