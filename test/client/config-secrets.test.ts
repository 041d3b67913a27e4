import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { restApp } from '../../src/api/http/rest/app.ts';
import { ConfigClient } from '../../src/client/config-client.ts';
import { hiddenEntry } from '../../src/client/config-entry.ts';
import { Secrets } from '../../src/client/config-secrets.ts';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openService } from '../../src/service/service.ts';
import { MemberWorld } from '../kv/member-world.ts';
import { ada, KEYRING, named } from '../service/world.ts';

test('the client gets a secret from the service itself, inherited ones too, once for each version', async () => {
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  const kv = await world.connect();
  const service = await openService({
    kv,
    logger: silentLogger,
    keyring: KEYRING,
    sweeps: false,
    signal: ada.signal,
  });
  const app = await restApp({ service, identity: { kv, requireIdentity: true }, logger: silentLogger });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;
  const name = named('db.password', { environment: 'staging' });
  await service.environments.update(ada, { tenant: 'default', id: 'production', parent: 'staging' });
  await service.configurations.create(ada, { name, type: 'secret', value: { json: 'hunter2' } });
  await service.configurations.create(ada, {
    name: named('tree'),
    type: 'secret',
    value: { json: { user: 'a' } },
  });
  let revealed = 0;
  service.projection.subscribe({
    changed: ({ record: { operation, actor } }) => {
      if (operation === 'reveal' && actor.name === 'pay') revealed += 1;
    },
    jumped: () => {},
  });
  const config = await ConfigClient.open({
    endpoints: [world.address],
    application: 'pay',
    environment: 'PROD',
    variables: {},
    http: { endpoints: [`http://127.0.0.1:${port}`], user: 'pay' },
  });
  try {
    expect(config.entries().map(({ key, type, environment }) => [key, type, environment])).toEqual([
      ['db.password', 'secret', 'staging'],
      ['tree', 'secret', 'production'],
    ]);
    expect(await config.secret('db.password')).toBe('hunter2');
    expect(await config.secret('db.password')).toBe('hunter2');
    expect(await config.secret('tree')).toBe('{"user":"a"}');
    const changed = new Promise<void>((resolve) => config.onKey('db.password', () => resolve()));
    await service.configurations.update(ada, { ref: name, value: { json: 'hunter3' } });
    await changed;
    expect(await config.secret('db.password')).toBe('hunter3');
    await service.projection.catchUp(ada.signal);
    expect(revealed).toBe(3);
  } finally {
    await config.close();
    await app.close();
    await service.close();
    await world.stop();
  }
});

test.each(['<html>sign in</html>', '', 'null', '{"value": 1}'])(
  'an answer that is none of the service is a failure as others: %s',
  async (body) => {
    const server = createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const scope = { tenant: 'default', environment: 'production', application: 'pay' };
    const secrets = new Secrets(scope, { endpoints: [`http://127.0.0.1:${port}`] }, { timeoutMs: 60_000 });
    const place = { key: 'a', environment: 'production', revision: 1, source: 'cluster' } as const;
    const secret = hiddenEntry(place, 'secret');
    await expect(secrets.text(secret, {})).rejects.toMatchObject({ name: 'ClientError', code: 'data-loss' });
    server.closeAllConnections();
    server.close();
  },
);
