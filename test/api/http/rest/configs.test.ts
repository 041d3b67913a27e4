import { expect, test } from 'vitest';
import { inRestWorld } from './rest-world.ts';

test('smoke', async () => {
  await inRestWorld(async ({ get, post, app }) => {
    const made = await post('/configs', { key: 'db.url', application: 'pay', environment: 'PROD', valueType: 'STRING', value: 'x' });
    console.log(made);
    console.log(await get('/configs'));
    console.log(await get('/nope'), await get('/api/v1/config/pay?environment=prod'));
    const doc = await get('/openapi.json');
    console.log(Object.keys(doc.body.paths), JSON.stringify(doc.body.paths['/configs'], null, 1).slice(0, 6000));
    expect((await get('/docs')).status).toBe(200);
    void app;
  });
});
