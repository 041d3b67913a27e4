import { MessageChannel } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { AuthFlag } from '../../src/kv/auth-flag.ts';
import type { Kv, KvCall, KvWatchBatch } from '../../src/kv/kv.ts';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { serveKv } from '../../src/kv/serve-kv.ts';
import { ThreadKv } from '../../src/kv/thread-kv.ts';
import { BATCHES_AHEAD_MAX, CALLS_MAX } from '../../src/kv/thread-messages.ts';
import type { Member } from '../../src/member/member.ts';
import { AS_SERVICE, codeOf, kvContract } from '../contract/kv.ts';
import { kvAuthContract } from '../contract/kv-auth.ts';
import { MemberWorld } from './member-world.ts';

const bugs: unknown[] = [];
afterEach(() => expect(bugs.splice(0)).toEqual([]));

/** Both ends of a port, in one thread. */
function across(kv: Kv, auth?: AuthFlag): { readonly far: ThreadKv; readonly server: { close(): void } } {
  const { port1, port2 } = new MessageChannel();
  const server = serveKv(port1, kv, (error) => bugs.push(error));
  return { server, far: new ThreadKv(port2, kv.limits, auth) };
}

const start = (): Promise<MemberWorld> =>
  MemberWorld.start(async ({ member }) => across(new LocalKv(member)).far);

kvContract('a member across a message port', start);
kvAuthContract('a member across a message port', start);
kvAuthContract('a member across a message port, with a flag that tells of authentication', () =>
  MemberWorld.start(async ({ member }) => across(new LocalKv(member), flagOf(member)).far),
);

function flagOf(member: Member): AuthFlag {
  const flag = new AuthFlag();
  member.accounts.follow((enabled) => flag.set(enabled));
  // As another thread has it.
  return new AuthFlag(flag.memory);
}

/** A store that answers when it is told to, and keeps what it was asked. */
class SlowKv extends MemoryKv {
  readonly calls: KvCall[] = [];
  #open: () => void = () => undefined;
  readonly #gate = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  open(): void {
    this.#open();
  }

  override async range(...args: Parameters<Kv['range']>): ReturnType<Kv['range']> {
    this.calls.push(args[1]);
    await this.#gate;
    return super.range(...args);
  }

  override async txn(...args: Parameters<Kv['txn']>): ReturnType<Kv['txn']> {
    this.calls.push(args[1]);
    await this.#gate;
    return super.txn(...args);
  }
}

const key = Buffer.from('key');
const AS_NOBODY: KvCall = { ...AS_SERVICE, principal: { type: 'anonymous' } };
const range = { key, consistency: { type: 'linearizable' } } as const;
const put = { compare: [], success: [{ type: 'put', key, value: key }], failure: [] } as const;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

test('what is under way when a port is closed: a read is closed, a write may have been done', async () => {
  for (const end of ['near', 'far'] as const) {
    const slow = new SlowKv();
    const { far, server } = across(slow);
    const failures = [codeOf(far.range(range, AS_SERVICE)), codeOf(far.txn(put, AS_SERVICE))];
    while (slow.calls.length < 2) await turn();
    if (end === 'far') await far.close();
    else server.close();
    expect(await Promise.all(failures)).toEqual(['closed', 'ambiguous']);
    // Nobody waits for them any more on the other side either.
    while (!slow.calls.every(({ signal }) => signal.aborted)) await turn();
    expect(await codeOf(far.txn(put, AS_SERVICE))).toBe('closed');
    slow.open();
  }
});

test('a call is given up on both sides', async () => {
  const slow = new SlowKv();
  const { far } = across(slow);
  const control = new AbortController();
  const failure = codeOf(far.txn(put, { ...AS_SERVICE, signal: control.signal }));
  while (slow.calls.length < 1) await turn();
  control.abort();
  expect(await failure).toBe('canceled');
  while (slow.calls[0]?.signal.aborted !== true) await turn();
  slow.open();
  await far.close();
});

test('what is sent is what it was when it was sent, and what comes is the receiver’s own', async () => {
  const kv = new MemoryKv();
  const { far } = across(kv);
  const value = Buffer.from('first');
  const done = far.txn(
    { compare: [], success: [{ type: 'put', key, value }], failure: [] },
    { ...AS_SERVICE, principal: { type: 'token', token: 'x' } },
  );
  await done;
  const { rows } = await far.range(range, AS_SERVICE);
  expect(rows).toEqual([
    { key, value: Buffer.from('first'), createRevision: 2, modRevision: 2, version: 1, lease: 0n },
  ]);
  expect(Buffer.isBuffer(rows[0]?.value)).toBe(true);
  rows[0]?.value.fill(0);
  expect((await kv.range(range, AS_SERVICE)).rows[0]?.value.toString()).toBe('first');
  await far.close();
});

test('a watch that is not read holds the store back, and nothing is lost', async () => {
  const taken: number[] = [];
  const endless = new (class extends MemoryKv {
    override async *watch(): AsyncGenerator<KvWatchBatch, void, undefined> {
      for (let revision = 1; ; revision += 1) {
        taken.push(revision);
        yield { revision, events: [] };
        await turn();
      }
    }
  })();
  const { far } = across(endless);
  const told: number[] = [];
  for await (const { revision } of far.watch({ key, startRevision: 1 }, AS_SERVICE)) {
    told.push(revision);
    for (let i = 0; i < 10; i += 1) await turn();
    expect(taken.length).toBeLessThanOrEqual(told.length + BATCHES_AHEAD_MAX);
    if (told.length === 10) break;
  }
  expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const count = taken.length;
  for (let i = 0; i < 10; i += 1) await turn();
  expect(taken.length).toBeLessThanOrEqual(count + 1);
  await far.close();
});

test('more calls than there may be are refused', async () => {
  const slow = new SlowKv();
  const { far } = across(slow);
  // A signal of its own for each: one that all listen to grows slow.
  const calls = Array.from({ length: CALLS_MAX }, () =>
    far.range(range, { ...AS_SERVICE, signal: new AbortController().signal }),
  );
  expect(await codeOf(far.range(range, AS_SERVICE))).toBe('too-many-requests');
  slow.open();
  expect((await Promise.all(calls)).length).toBe(CALLS_MAX);
  expect((await far.range(range, AS_SERVICE)).count).toBe(0);
  await far.close();
});

test('a bug is told where the store is, and fails the call', async () => {
  const broken = new (class extends MemoryKv {
    override range(): never {
      throw new TypeError('a bug');
    }
  })();
  const { far } = across(broken);
  expect(await codeOf(far.range(range, AS_SERVICE))).toBe('internal');
  expect(bugs.splice(0)).toMatchObject([{ message: 'a bug' }]);
  await far.close();
});

/** A member's store that counts how often it is asked about who is asking. */
class CountingKv extends LocalKv {
  asked = 0;

  override authEnabled(call: KvCall): Promise<boolean> {
    this.asked += 1;
    return super.authEnabled(call);
  }

  override permits(...args: Parameters<Kv['permits']>): ReturnType<Kv['permits']> {
    this.asked += 1;
    return super.permits(...args);
  }
}

test('a flag spares questions while authentication is off, and tells at once that it is on', async () => {
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  const { member } = world;
  const near = new CountingKv(member);
  const { far } = across(near, flagOf(member));
  const unset = across(near).far;
  const permits = (kv: ThreadKv) => kv.permits({ key, access: 'write' }, AS_NOBODY);
  expect(await far.authEnabled(AS_NOBODY)).toBe(false);
  expect(await permits(far)).toEqual({ user: null, permitted: true });
  expect(near.asked).toBe(0);
  expect(await unset.authEnabled(AS_NOBODY)).toBe(false);
  expect(near.asked).toBe(1);

  const { auth } = world.admin;
  await auth.userAdd({ name: 'root', password: 'root-password' });
  await auth.roleAdd('root');
  await auth.userGrantRole({ user: 'root', role: 'root' });
  await member.accounts.enable({ signal: AS_SERVICE.signal, isInternal: true });
  expect(await far.authEnabled(AS_NOBODY)).toBe(true);
  expect(await permits(far)).toEqual({ user: null, permitted: false });
  expect(near.asked).toBe(2);

  await member.accounts.disable({ signal: AS_SERVICE.signal, isInternal: true });
  expect(await permits(far)).toEqual({ user: null, permitted: true });
  expect(near.asked).toBe(2);
  await Promise.all([far.close(), unset.close(), near.close()]);
  await world.stop();
});
