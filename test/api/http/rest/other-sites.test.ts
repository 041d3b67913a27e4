import { describe, expect, test } from 'vitest';
import { expectProblem, inRestWorld } from './rest-world.ts';

const IMPORT = '/api/v1/import?application=pay&environment=DEV&format=dotenv';
const SIMPLE = { 'content-type': 'text/plain;charset=UTF-8', host: 'localhost:8080' };
const EXPORT = '/api/v1/export?application=pay&environment=DEV&format=json';

describe('a change that a page asks for', () => {
  test.each([
    ['another site', { origin: 'http://evil.example' }],
    ['another port', { origin: 'http://localhost:3000' }],
    ['a page without an origin', { origin: 'null' }],
    ['another site, by Fetch Metadata', { 'sec-fetch-site': 'cross-site' }],
    ['a sister site', { 'sec-fetch-site': 'same-site', origin: 'http://localhost:8080' }],
  ])('of %s is refused, and nothing is changed', async (_page, page) => {
    await inRestWorld(async ({ call, get }) => {
      const headers = { ...SIMPLE, ...page };
      expectProblem(await call('POST', IMPORT, { payload: 'DB_HOST=evil', headers }), 403);
      // Needs no body, and so no question of the browser's either.
      expectProblem(await call('POST', '/api/v1/change-sets/1.0/rollback', { headers }), 403);
      expect((await get(EXPORT)).text).not.toContain('evil');
      expect((await get('/api/v1/environments', { host: 'localhost:8080', ...page })).status).toBe(200);
    });
  });

  test.each([
    ['its own site', { origin: 'http://localhost:8080' }],
    [
      'its own site, whose name is written otherwise',
      { origin: 'http://localhost:8080', host: 'LOCALHOST:8080' },
    ],
    [
      'its own site, through a proxy with a name of its own',
      { origin: 'https://console.example', 'sec-fetch-site': 'same-origin' },
    ],
    ['no site: a program', {}],
  ])('of %s is made', async (_page, page) => {
    await inRestWorld(async ({ call }) => {
      const headers = { ...SIMPLE, ...page };
      expect((await call('POST', IMPORT, { payload: 'DB_HOST=db', headers })).status).toBe(200);
    });
  });
});

test('no answer may be loaded into a page of another site', async () => {
  await inRestWorld(async ({ call, get }) => {
    await call('POST', IMPORT, { payload: 'DB_HOST=db', headers: SIMPLE });
    const texts = '/api/v1/export?application=pay&environment=DEV&format=dotenv';
    for (const url of [texts, EXPORT, '/docs', '/openapi.json', '/configs?page=x', '/no/such/path']) {
      expect((await get(url)).headers).toMatchObject({
        'cross-origin-resource-policy': 'same-origin',
        'x-content-type-options': 'nosniff',
      });
    }
  });
});
