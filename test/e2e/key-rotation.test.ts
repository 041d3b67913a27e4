import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const OLD = `old:${randomBytes(32).toString('base64')}\n`;
const NEW = `new:${randomBytes(32).toString('base64')}\n`;
const NAME = { application: 'pay', environment: 'PROD', key: 'token' };

let directory: string;
let cluster: Cluster;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-keys-'));
  cluster = await Cluster.create(1, [`--secret-key-file=${join(directory, 'keys')}`]);
});
afterAll(async () => {
  await cluster.destroy();
  await rm(directory, { recursive: true, force: true });
});

/** The member, from now on with these keys. */
async function restarted(keys: string): Promise<void> {
  await cluster.stopAll();
  await writeFile(join(directory, 'keys'), keys, { mode: 0o600 });
  const server = cluster.launch(cluster.members[0]!);
  await server.ready();
  await server.logged('the configuration service is served');
}

function url(path: string): string {
  return `${cluster.members[0]!.httpUrl}${path}`;
}

async function written(method: string, path: string, body: object): Promise<{ readonly id: string }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url(path), { method, headers, body: JSON.stringify(body) });
  expect(response.status).toBeLessThan(300);
  return (await response.json()) as { readonly id: string };
}

test('keys are changed by the guide: the new one second, then first, then alone', async () => {
  await restarted(OLD);
  const { id } = await written('POST', '/api/v1/configurations', { ...NAME, type: 'secret', value: 'first' });
  await written('PUT', `/api/v1/configurations/${id}`, { value: 'second' });

  await restarted(`${OLD}${NEW}`);
  await restarted(`${NEW}${OLD}`);
  await eventually('everything is sealed under the new key', async () => {
    const page = await (await fetch(url('/metrics'))).text();
    return (
      /^conclave_service_resealing_done 1$/m.test(page) && /^conclave_service_secrets_waiting 0$/m.test(page)
    );
  });
  using client = new KvClient({ endpoints: [cluster.members[0]!.clientUrl] });
  const { kvs } = await client.range({ key: '/', rangeEnd: '0' });
  const envelopes = kvs.flatMap(({ value }) => value.toString().match(/"sealed":1,"keyId":"\w+"/g) ?? []);
  expect(envelopes).toEqual(Array.from({ length: 4 }, () => '"sealed":1,"keyId":"new"'));

  await restarted(NEW);
  const shown = async (): Promise<unknown> => {
    const query = 'application=pay&environment=PROD&key=token&reveal=true';
    return ((await (await fetch(url(`/configs/lookup?${query}`))).json()) as { value: unknown }).value;
  };
  expect(await shown()).toBe('second');
  await written('POST', `/api/v1/configurations/${id}/rollback`, { version: 1 });
  expect(await shown()).toBe('first');
});
