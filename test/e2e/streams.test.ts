import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { configStream } from '../support/config-call.ts';
import { eventually } from '../support/eventually.ts';
import { GuideShell } from '../support/guide.ts';
import { repositoryRoot } from '../support/repository-root.ts';
import { ServerProcess } from '../support/server-process.ts';
import { EventReader, SocketReader } from '../support/stream-readers.ts';

const PRELOAD = join(repositoryRoot(), 'test/support/thread-preload.mjs');
const EVENTS = '/api/v1/events?application=pay&environment=PROD';
/** As many as one member is to serve at once (REQUIREMENTS); the changes are few, so that the test takes little time. */
const WATCHERS = 1_000;
const CHANGES = 20;

let cluster: Cluster;
const member = (at: number): ClusterMember => cluster.members[at]!;

beforeAll(async () => {
  cluster = await Cluster.create(3);
  for (const item of cluster.members) launch(item);
  await Promise.all(cluster.members.map(served));
  await put(member(0), 'begin', 0);
});
afterAll(async () => {
  await cluster.destroy();
});

function launch(item: ClusterMember): void {
  cluster.launch(item, { env: { NODE_OPTIONS: `--import=${PRELOAD}` } });
}

async function served({ process }: ClusterMember): Promise<void> {
  await process!.ready();
  await process!.logged('the configuration service is served');
}

/** @returns the revision of the change */
async function put(
  { httpUrl }: { readonly httpUrl: string },
  key: string,
  value: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const response = await fetch(`${httpUrl}/api/v1/config/pay/${key}?environment=PROD`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'idempotency-key': `${key}-${value}`, ...headers },
    body: JSON.stringify({ new_value: value }),
  });
  expect(response.ok, await response.text()).toBe(true);
  return Number(response.headers.get('conclave-revision'));
}

/** What a stream told of the key, as new values, with where to go on. */
const values = (messages: readonly Record<string, unknown>[]): readonly unknown[] =>
  messages.map((message) => (message['configuration_updated'] as { readonly new_value: unknown }).new_value);
const cursorOf = (messages: readonly Record<string, unknown>[]): string => String(messages.at(-1)!['cursor']);

describe('every kind of stream', () => {
  test('loses and repeats nothing when its member is killed, and history is compacted meanwhile', async () => {
    const target = member(0);
    const socket = new SocketReader(`${target.httpUrl}${EVENTS}&keys=a`);
    const events = new EventReader(`${target.httpUrl}${EVENTS}&keys=a`);
    const grpc = configStream(target.clientUrl, { application: 'pay', environment: 'PROD', keys: ['a'] });
    await Promise.all([socket.opened, events.opened, grpc.begun]);
    await put(member(1), 'a', 1);
    await put(member(2), 'a', 2);
    await eventually('two of each', () =>
      [socket.messages, events.events, grpc.updates].every(({ length }) => length === 2),
    );
    await target.process!.stop('SIGKILL');
    expect(await socket.closed).toMatchObject({ code: 1006 });
    await Promise.all([events.ended, grpc.ended]);
    grpc.close();
    const revision = await eventually('a leader', () => put(member(1), 'a', 3));
    using client = new KvClient({ endpoints: [member(1).clientUrl] });
    await client.compact({ revision });
    await put(member(2), 'a', 4);

    const again = new SocketReader(
      `${member(1).httpUrl}${EVENTS}&keys=a&revision=${cursorOf(socket.messages)}`,
    );
    const poll = await fetch(
      `${member(1).httpUrl}${EVENTS}&keys=a&waitMs=0&revision=${cursorOf(socket.messages)}`,
    );
    const rest = new EventReader(`${member(2).httpUrl}${EVENTS}&keys=a`, {
      'last-event-id': events.lastEventId,
    });
    const more = configStream(member(2).clientUrl, {
      application: 'pay',
      environment: 'PROD',
      keys: ['a'],
      after_cursor: grpc.updates.at(-1)!.cursor,
    });
    await put(member(1), 'a', 5);
    await eventually('the rest of each', () =>
      [again.messages, rest.events, more.updates].every(({ length }) => length >= 3),
    );
    expect(values(again.messages)).toEqual([3, 4, 5]);
    expect(rest.events.map(({ data }) => JSON.parse(data).configuration_updated.new_value)).toEqual([
      3, 4, 5,
    ]);
    expect(more.updates.map(({ value }) => value)).toEqual(['3', '4', '5']);
    const polled = (await poll.json()) as { readonly events: readonly Record<string, unknown>[] };
    expect(values(polled.events)[0]).toBe(3);
    await again.close();
    rest.close();
    more.close();
    launch(target);
    await served(target);
  });

  test('ends when the thread of the service does, and goes on at the same member', async () => {
    const target = member(1);
    const socket = new SocketReader(`${target.httpUrl}${EVENTS}&keys=b`);
    await socket.opened;
    await put(target, 'b', 1);
    await eventually('the event', () => socket.messages.length === 1);
    target.process!.signal('SIGUSR2');
    expect(await socket.closed).toMatchObject({ code: 1006 });
    await put(member(2), 'b', 2);
    const again = await eventually('the service', async () => {
      const reader = new SocketReader(
        `${target.httpUrl}${EVENTS}&keys=b&revision=${cursorOf(socket.messages)}`,
      );
      const opened = await Promise.race([reader.opened, reader.closed]);
      return 'upgrade' in opened ? reader : undefined;
    });
    await eventually('what came meanwhile', () => again.messages.length === 1);
    expect(values(again.messages)).toEqual([2]);
    await again.close();
  });

  test('ends with its word for it when its member stops', async () => {
    const target = member(2);
    const socket = new SocketReader(`${target.httpUrl}/api/v1/config/watch/pay?environment=PROD`);
    const events = new EventReader(`${target.httpUrl}${EVENTS}`);
    await Promise.all([socket.opened, events.opened]);
    expect(await target.process!.stop()).toBe(0);
    expect(await socket.closed).toMatchObject({ code: 1001 });
    await events.ended;
    expect(events.events).toEqual([]);
    launch(target);
    await served(target);
  });
});

test(`${WATCHERS} watchers of one member are each told every change, in order`, async () => {
  const target = member(0);
  const readers = Array.from(
    { length: WATCHERS },
    (_, at) => new (at % 2 === 0 ? SocketReader : EventReader)(`${target.httpUrl}${EVENTS}&keyPrefix=many.`),
  );
  await Promise.all(readers.map(({ opened }) => opened));
  for (let at = 0; at < CHANGES; at += 1) await put(member(at % 3), `many.k${at % 5}`, at);
  const told = (reader: SocketReader | EventReader): readonly unknown[] =>
    reader instanceof SocketReader
      ? values(reader.messages)
      : values(reader.events.map(({ data }) => JSON.parse(data) as Record<string, unknown>));
  const count = (reader: SocketReader | EventReader): number =>
    reader instanceof SocketReader ? reader.messages.length : reader.events.length;
  await eventually('all events', () => readers.every((reader) => count(reader) >= CHANGES));
  const expected = Array.from({ length: CHANGES }, (_, at) => at);
  for (const reader of readers) expect(told(reader)).toEqual(expected);
  for (const reader of readers) {
    if (reader instanceof SocketReader) reader.socket.terminate();
    else reader.close();
  }
});

test('behind a gateway streams are the same', async () => {
  const [http, client] = await freePorts(2);
  const httpUrl = `http://127.0.0.1:${http}`;
  const flags = [
    `--endpoints=${cluster.endpoints}`,
    `--listen-http-urls=${httpUrl}`,
    `--listen-client-urls=http://127.0.0.1:${client}`,
  ];
  const gateway = new ServerProcess(flags, {}, { command: 'gateway' });
  try {
    await gateway.ready();
    const socket = new SocketReader(`${httpUrl}${EVENTS}&keys=g&instance=pod-1`);
    const events = new EventReader(`${httpUrl}${EVENTS}&keys=g`);
    await Promise.all([socket.opened, events.opened]);
    const revision = await put(member(0), 'g', 1);
    await eventually('both', () => socket.messages.length === 1 && events.events.length === 1);
    expect(cursorOf(socket.messages)).toBe(String(revision));
    expect(events.lastEventId).toBe(String(revision));
    expect(await gateway.stop()).toBe(0);
    expect(await socket.closed).toMatchObject({ code: 1001 });
    await events.ended;
    const again = new SocketReader(`${member(0).httpUrl}${EVENTS}&keys=g&revision=${revision}`);
    await again.opened;
    await put(member(1), 'g', 2);
    await eventually('the next', () => again.messages.length === 1);
    await again.close();
  } finally {
    await gateway.stop('SIGKILL');
  }
});

test.skipIf(process.env['CI'] !== 'true' && spawnSync('curl', ['--version']).status !== 0)(
  'the guide does what it says (needs curl)',
  async () => {
    const shell = new GuideShell({}, { CONCLAVE_HTTP_ENDPOINT: member(0).httpUrl });
    try {
      shell.usePort(8080, Number(new URL(member(0).httpUrl).port));
      expect(await shell.run('docs/streams.md')).toBe(3);
    } finally {
      await shell.close();
    }
  },
);

test('with authentication on a stream tells what its user may read, and nobody else anything', async () => {
  const other = await Cluster.start(1, ['--bcrypt-cost=4']);
  const [place] = other.members;
  try {
    await place!.process!.logged('the configuration service is served');
    await put(place!, 'db.a', 0);
    using client = new KvClient({ endpoints: [place!.clientUrl] });
    for (const name of ['root', 'ada']) {
      await client.auth.userAdd({ name, password: 'pw' });
      await client.auth.roleAdd(name);
      await client.auth.userGrantRole({ user: name, role: name });
    }
    const key = '/default/production/pay/db.';
    await client.auth.roleGrantPermission('ada', { type: 'read', key, rangeEnd: key.replace(/\.$/, '/') });
    await client.auth.enable();
    const headers = (user: string) => ({
      authorization: `Basic ${Buffer.from(`${user}:pw`).toString('base64')}`,
    });
    const url = `${place!.httpUrl}${EVENTS}`;
    expect(await new SocketReader(url).opened).toMatchObject({ status: 401 });
    const named = new EventReader(`${url}&keys=log`, headers('ada'));
    expect((await named.opened).status).toBe(403);
    const socket = new SocketReader(url, { headers: headers('ada') });
    const events = new EventReader(url, headers('ada'));
    await Promise.all([socket.opened, events.opened]);
    for (const [at, name] of ['log', 'db.a', 'log', 'db.b'].entries()) {
      await put(place!, name, at + 1, headers('root'));
    }
    await eventually('two of each', () => socket.messages.length >= 2 && events.events.length >= 2);
    expect(values(socket.messages)).toEqual([2, 4]);
    expect(events.events).toHaveLength(2);
    await socket.close();
    events.close();
  } finally {
    await other.destroy();
  }
});

test('on a TLS address streams are the same', async () => {
  const secure = await Cluster.create(
    1,
    ['--auto-tls', '--peer-auto-tls', '--self-signed-cert-validity=3'],
    'https',
  );
  const [place] = secure.members;
  try {
    secure.launch(place!);
    await served(place!);
    const url = `${place!.httpUrl}/api/v1/events?environment=PROD`;
    const socket = new SocketReader(url, { insecure: true });
    expect(await socket.opened).toMatchObject({ upgrade: 'websocket' });
    const events = new EventReader(url, {}, true);
    expect((await events.opened).status).toBe(200);
    await socket.close();
    events.close();
  } finally {
    await secure.destroy();
  }
});
