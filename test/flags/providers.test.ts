import { FlagdProvider } from '@openfeature/flagd-provider';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { type Client, OpenFeature, type Provider, ProviderEvents } from '@openfeature/server-sdk';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ConclaveProvider } from '../../src/openfeature/provider.ts';
import { ada } from '../service/world.ts';
import { FLAGS, FlagWorld, SCOPE, SELECTOR } from './flag-world.ts';

/** OpenFeature's own SDK for servers and the providers for it, as they are, before a server that listens. */

let world: FlagWorld;

beforeAll(async () => {
  world = await FlagWorld.open();
});

afterAll(async () => {
  await world[Symbol.asyncDispose]();
  expect(world.bugs).toEqual([]);
});

afterEach(async () => OpenFeature.close());

const flagd = (options: object): Provider =>
  new FlagdProvider({ host: '127.0.0.1', port: world.grpcPort, tls: false, selector: SELECTOR, ...options });

const PROVIDERS = [
  {
    name: 'OFREP',
    make: (): Provider =>
      new OFREPProvider({
        baseUrl: `${world.httpUrl}/flags/shop/PROD`,
        headers: [['X-Conclave-User', 'web']],
      }),
    /** What it cannot: the provider for servers has no events, and has no word for an absent value. */
    hears: false,
    sayNothing: false,
    hasPatterns: true,
  },
  {
    name: 'flagd, rpc',
    make: (): Provider => flagd({ resolverType: 'rpc', cache: 'lru' }),
    hears: true,
    sayNothing: true,
    hasPatterns: true,
  },
  {
    name: 'flagd, in-process',
    make: (): Provider => flagd({ resolverType: 'in-process' }),
    hears: true,
    sayNothing: true,
    hasPatterns: false,
  },
  {
    name: 'our own',
    make: (): Provider =>
      new ConclaveProvider({
        endpoints: [`127.0.0.1:${world.grpcPort}`],
        application: 'shop',
        environment: 'PROD',
      }),
    hears: true,
    sayNothing: true,
    hasPatterns: true,
  },
] as const;

describe.each(PROVIDERS)('$name', ({ name, make, hears, sayNothing, hasPatterns }) => {
  let clients = 0;

  async function open(): Promise<Client> {
    clients += 1;
    const domain = `${name} ${clients}`;
    await OpenFeature.setProviderAndWait(domain, make());
    return OpenFeature.getClient(domain);
  }

  test('values, variants, reasons and metadata', async () => {
    const client = await open();
    expect(await client.getBooleanDetails('static-on', false)).toMatchObject({
      value: true,
      variant: 'on',
      reason: 'STATIC',
      flagMetadata: { owner: 'checkout', tier: 2, beta: true },
    });
    expect(await client.getBooleanDetails('static-off', true)).toMatchObject({
      value: false,
      variant: 'off',
    });
    expect(await client.getNumberDetails('limit', 0)).toMatchObject({ value: 3, variant: 'few' });
    expect(await client.getNumberValue('half', 0)).toBe(0.5);
    const theme = FLAGS['theme']!['variants'] as { readonly dark: object };
    expect(await client.getObjectDetails('theme', {})).toMatchObject({ value: theme.dark, variant: 'dark' });
    expect(await client.getBooleanDetails('disabled', true)).toMatchObject({ value: false });
  });

  test('targeting by context', async () => {
    const client = await open();
    const staff = { targetingKey: 'u', email: 'ada@shop.example' };
    expect(await client.getStringDetails('greeting', '', staff)).toMatchObject({
      value: 'hello, colleague',
      variant: 'staff',
      reason: 'TARGETING_MATCH',
    });
    expect(await client.getStringDetails('greeting', '', { email: 'ada@else.example' })).toMatchObject({
      value: 'welcome',
      variant: 'all',
      reason: 'DEFAULT',
    });
    if (hasPatterns) expect(await client.getBooleanValue('pattern', false, { email: 'ada' })).toBe(true);
  });

  test('a split is the same for everybody who evaluates', async () => {
    const client = await open();
    for (const targetingKey of ['u1', 'u2', 'u3', 'u4', 'u5', 'u6']) {
      const { result } = await world.service.flagReads.evaluate(ada, {
        scope: SCOPE,
        key: 'experiment',
        context: { targetingKey },
      });
      expect(await client.getStringValue('experiment', '', { targetingKey })).toBe(result.value);
    }
  });

  test('errors leave the default', async () => {
    const client = await open();
    expect(await client.getBooleanDetails('no-such-flag', true)).toMatchObject({
      value: true,
      reason: 'ERROR',
      errorCode: 'FLAG_NOT_FOUND',
    });
    expect(await client.getStringDetails('static-on', 'x')).toMatchObject({
      value: 'x',
      errorCode: 'TYPE_MISMATCH',
    });
    if (sayNothing)
      expect(await client.getStringDetails('valueless', 'mine')).toMatchObject({ value: 'mine' });
  });

  if (!hears) return;
  test('hears of changes, and answers with them', async () => {
    const client = await open();
    expect(await client.getBooleanValue('static-on', false)).toBe(true);
    const changed = new Promise<readonly string[]>((resolve) => {
      client.addHandler(ProviderEvents.ConfigurationChanged, (event) => resolve(event?.flagsChanged ?? []));
    });
    const { variants, type } = FLAGS['static-on']!;
    await world.put('static-on', { type: type!, variants: variants!, fallthrough: { variant: 'off' } });
    expect(await changed).toContain('static-on');
    expect(await client.getBooleanValue('static-on', true)).toBe(false);
    await world.put('static-on', FLAGS['static-on']!);
  });
});
