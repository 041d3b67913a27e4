import { rm } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import { ClientError } from '../../src/client/client-error.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const KEYS = 500;

let cluster: Cluster;
afterEach(async () => {
  await cluster.destroy();
});

test('when two of three are lost for good, the third goes on alone with all data, and grows again', async () => {
  cluster = await Cluster.start(3);
  const [left, second, third] = cluster.members;
  await load(left!);
  // So that it has heard of every commit: what it had not would be gone, as the runbook says.
  expect(await count(left!)).toBe(KEYS);
  for (const lost of [second!, third!]) {
    await lost.process?.stop('SIGKILL');
    await rm(lost.dataDir, { recursive: true });
  }
  await expect(write(left!, 'alone', 2_000)).rejects.toThrow(ClientError);
  await left!.process?.stop();

  await cluster.launch(left!, { flags: ['--force-new-cluster'] }).ready();
  expect(left!.process?.log).toContain('forced a new cluster of this member alone');
  expect(await names(left!)).toEqual(['n1']);
  expect(await count(left!)).toBe(KEYS);
  await write(left!, 'alone');
  expect(await count(left!)).toBe(KEYS + 1);

  // The flag is for once.
  await cluster.restart(left!);
  expect(await names(left!)).toEqual(['n1']);
  expect(await count(left!)).toBe(KEYS + 1);

  for (const lost of [second!, third!]) {
    using client = new KvClient({ endpoints: [left!.clientUrl] });
    await client.memberAdd({ peerUrls: [lost.peerUrl], isLearner: false });
    await cluster.launch(lost, { state: 'existing' }).ready();
    expect(await count(lost)).toBe(KEYS + 1);
  }
  expect(await names(third!)).toEqual(['n1', 'n2', 'n3']);
  await left!.process?.stop('SIGKILL');
  // Its outcome may stay unknown at first: it may have been on its way to the member that died.
  await eventually('a write without the first', () =>
    write(second!, 'without the first').then(
      () => true,
      (error: unknown) => error instanceof ClientError && undefined,
    ),
  );
  expect(await count(third!)).toBe(KEYS + 2);
});

async function load(member: ClusterMember): Promise<void> {
  using client = new KvClient({ endpoints: [member.clientUrl] });
  const numbers = Array.from({ length: KEYS }, (_, i) => i);
  await Promise.all(numbers.map((i) => client.put({ key: `k/${i}`, value: `value ${i}` })));
}

async function write(member: ClusterMember, what: string, timeoutMs = 10_000): Promise<void> {
  using client = new KvClient({ endpoints: [member.clientUrl], timeoutMs });
  await client.put({ key: `k/${what}`, value: 'x' });
}

async function count(member: ClusterMember): Promise<number> {
  using client = new KvClient({ endpoints: [member.clientUrl] });
  return (await client.range({ key: 'k/', rangeEnd: 'k0', countOnly: true })).count;
}

async function names(member: ClusterMember): Promise<readonly string[]> {
  using client = new KvClient({ endpoints: [member.clientUrl] });
  const { members } = await client.memberList();
  return members.map(({ name }) => name).sort();
}
