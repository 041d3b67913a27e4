import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, type Provider, ProviderEvents } from '@openfeature/web-sdk';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { FetchEventSource } from '../support/event-source.ts';
import { eventually } from '../support/eventually.ts';
import { FLAGS, FlagWorld } from './flag-world.ts';

/** OpenFeature's own SDK and provider for web pages, as they are; only what browsers have besides is put beside them. */

let world: FlagWorld;
const evaluations: { readonly status: number; readonly ifNoneMatch: string | null }[] = [];

beforeAll(async () => {
  vi.stubGlobal('EventSource', FetchEventSource);
});

beforeEach(async () => {
  world = await FlagWorld.open();
  evaluations.length = 0;
});

afterEach(async () => {
  await OpenFeature.close();
  await OpenFeature.clearContexts();
  await world[Symbol.asyncDispose]();
  expect(world.bugs).toEqual([]);
});

afterAll(() => vi.unstubAllGlobals());

function provider(): Provider {
  const made: unknown = new OFREPWebProvider({
    baseUrl: world.httpUrl,
    query: new URLSearchParams({ application: 'shop', environment: 'PROD' }),
    cacheMode: 'disabled',
    fetchImplementation: async (input: string | URL | Request, init?: RequestInit) => {
      const request = new Request(input, init);
      const ifNoneMatch = request.headers.get('if-none-match');
      const response = await fetch(request);
      evaluations.push({ status: response.status, ifNoneMatch });
      return response;
    },
  });
  // Its type does not say that hooks may be absent.
  return made as Provider;
}

test('values, variants, reasons, metadata and errors', async () => {
  await OpenFeature.setContext({ targetingKey: 'u', email: 'ada@shop.example' });
  await OpenFeature.setProviderAndWait(provider());
  const client = OpenFeature.getClient();
  expect(client.getBooleanDetails('static-on', false)).toMatchObject({
    value: true,
    variant: 'on',
    reason: 'STATIC',
    flagMetadata: { owner: 'checkout', tier: 2, beta: true },
  });
  expect(client.getStringDetails('greeting', '')).toMatchObject({
    variant: 'staff',
    reason: 'TARGETING_MATCH',
  });
  expect(client.getNumberDetails('limit', 0)).toMatchObject({ value: 3 });
  expect(client.getObjectValue('theme', {})).toEqual((FLAGS['theme']!['variants'] as { dark: object }).dark);
  expect(client.getBooleanDetails('disabled', true)).toMatchObject({ value: false, reason: 'DISABLED' });
  expect(client.getStringDetails('valueless', 'mine')).toMatchObject({ value: 'mine', reason: 'DISABLED' });
  expect(client.getBooleanDetails('nothing', true)).toMatchObject({
    value: true,
    errorCode: 'FLAG_NOT_FOUND',
  });
  expect(client.getStringDetails('static-on', 'x')).toMatchObject({ value: 'x', errorCode: 'TYPE_MISMATCH' });
});

test('a flag that needs a targeting key says so, and the others answer', async () => {
  await OpenFeature.setProviderAndWait(provider());
  const client = OpenFeature.getClient();
  expect(client.getStringDetails('experiment', 'x')).toMatchObject({
    value: 'x',
    errorCode: 'TARGETING_KEY_MISSING',
  });
  expect(client.getBooleanValue('static-on', false)).toBe(true);
});

test('another attribute of the same person is another answer, whatever tag the provider shows', async () => {
  await OpenFeature.setContext({ targetingKey: 'u', email: 'ada@else.example' });
  await OpenFeature.setProviderAndWait(provider());
  const client = OpenFeature.getClient();
  expect(client.getStringValue('greeting', '')).toBe('welcome');
  await OpenFeature.setContext({ targetingKey: 'u', email: 'ada@shop.example' });
  expect(client.getStringValue('greeting', '')).toBe('hello, colleague');
  // The provider keeps its tag as long as the targeting key stays.
  expect(evaluations.at(-1)).toMatchObject({ status: 200, ifNoneMatch: expect.stringMatching(/^"/) });
});

test('hears of a change by the event stream, with the flags that changed', async () => {
  await OpenFeature.setContext({ targetingKey: 'u' });
  await OpenFeature.setProviderAndWait(provider());
  const client = OpenFeature.getClient();
  // A stream begins with an event: nothing is lost between the first answer and it, and nothing has changed.
  await eventually('the first event', () => evaluations.some(({ status }) => status === 304));
  const changes: (readonly string[])[] = [];
  client.addHandler(ProviderEvents.ConfigurationChanged, (event) => changes.push(event?.flagsChanged ?? []));
  const { type, variants } = FLAGS['static-on']!;
  await world.put('static-on', { type: type!, variants: variants!, fallthrough: { variant: 'off' } });
  await eventually('the change', () => changes.length > 0);
  expect(changes[0]).toEqual(['static-on']);
  expect(client.getBooleanValue('static-on', true)).toBe(false);
});
