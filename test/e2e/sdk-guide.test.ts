import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster } from '../support/cluster.ts';
import { runGuide } from '../support/guide-program.ts';

let cluster: Cluster;
let directory: string;

beforeAll(async () => {
  cluster = await Cluster.start(3);
  directory = mkdtempSync(join(tmpdir(), 'conclave-guide-'));
});
afterAll(async () => {
  await cluster.destroy();
  rmSync(directory, { recursive: true, force: true });
});

/** Plain values, as the service puts them. */
const VALUES = { 'db.host': 'h', 'db.pool.max': 20, retries: 'many', 'db.password': 'not a secret' };

test('the examples of the guide are a program that compiles and runs as a user of the package has it', async () => {
  const clientUrls = cluster.members.map(({ clientUrl }) => clientUrl);
  using client = new KvClient({ endpoints: clientUrls });
  for (const [key, json] of Object.entries(VALUES)) {
    await client.put({ key: `/default/production/pay/${key}`, value: JSON.stringify(json) });
  }
  const { output, status } = runGuide({ guide: 'docs/sdk.md', directory, clientUrls });
  expect(output.trim().split('\n')).toEqual(['h 20 cluster', '3 false 0', 'true']);
  expect(status).toBe(0);
  const snapshot = JSON.parse(readFileSync(join(directory, 'pay.config.json'), 'utf8'));
  expect(snapshot.entries).toHaveLength(4);
});
