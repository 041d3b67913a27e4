import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import type { PeerIdentity } from '../../src/member/ports.ts';
import {
  append,
  entry,
  eventually,
  framesOf,
  heartbeat,
  type ListeningTransport,
  never,
  TestMember,
} from '../member/transport/cast.ts';

/** Makes transports that can reach one another. */
export interface TransportHarness {
  create(): ListeningTransport;
  /** At the addresses of one that was closed. */
  createAt(urls: readonly string[]): ListeningTransport;
}

/** What every `Transport` must do, whatever carries the bytes. */
export function transportContract(name: string, makeHarness: () => TransportHarness): void {
  describe(`${name} as a transport`, () => {
    let harness: TransportHarness;
    let members: TestMember[];

    beforeEach(() => {
      harness = makeHarness();
      members = [];
    });
    afterEach(async () => {
      await Promise.all(members.map(async (member) => member.transport.close()));
    });

    async function start(
      identity: Partial<PeerIdentity> & { readonly memberId: number },
    ): Promise<TestMember> {
      const member = await new TestMember(harness.create(), identity).start();
      members.push(member);
      return member;
    }

    async function pair(): Promise<[TestMember, TestMember]> {
      const [a, b] = [await start({ memberId: 1 }), await start({ memberId: 2 })];
      a.knows(a, b);
      b.knows(a, b);
      await eventually(() => a.transport.connected(2) && b.transport.connected(1), 'both connected');
      return [a, b];
    }

    test('messages of every stream arrive whole and in order', async () => {
      const [a, b] = await pair();
      const entries = [entry(11, 'first'), entry(12, Buffer.alloc(100_000, 7)), entry(13, '')];
      a.transport.send([heartbeat(1, 2, 1), append(1, 2, { entries }), heartbeat(1, 2, 2)]);
      a.transport.send([append(1, 2, { prevIndex: 13 }), heartbeat(1, 2, 3)]);
      await eventually(() => b.received.length === 5);
      expect(b.heartbeats()).toEqual([heartbeat(1, 2, 1), heartbeat(1, 2, 2), heartbeat(1, 2, 3)]);
      expect(b.appends()).toEqual([append(1, 2, { entries }), append(1, 2, { prevIndex: 13 })]);
    });

    test('a received entry shares no memory with the sent one', async () => {
      const [a, b] = await pair();
      const data = Buffer.from('before');
      a.transport.send([append(1, 2, { entries: [{ index: 11, term: 3, kind: 'normal', data }] })]);
      await eventually(() => b.received.length === 1);
      data.write('after!');
      expect(b.appends()[0]!.entries[0]!.data.toString()).toBe('before');
    });

    test('the same entries to two followers reach both', async () => {
      const [a, b] = await pair();
      const c = await start({ memberId: 3 });
      a.knows(b, c);
      c.knows(a);
      await eventually(() => a.transport.connected(3));
      const entries = [entry(11, 'x'), entry(12, 'y')];
      a.transport.send([append(1, 2, { entries }), append(1, 3, { entries, commit: 4 })]);
      await eventually(() => b.received.length === 1 && c.received.length === 1);
      expect(b.appends()).toEqual([append(1, 2, { entries })]);
      expect(c.appends()).toEqual([append(1, 3, { entries, commit: 4 })]);
    });

    test('a member of another cluster is refused', async () => {
      const a = await start({ memberId: 1, clusterId: 77 });
      const b = await start({ memberId: 2, clusterId: 78 });
      a.knows(b);
      b.knows(a);
      a.transport.send([heartbeat(1, 2)]);
      await eventually(() => a.unreachable.includes(2), 'the refusal is noticed');
      expect(a.transport.connected(2)).toBe(false);
      expect(b.received).toEqual([]);
      await expect(a.transport.request(2, Buffer.from('x'), never())).rejects.toMatchObject({
        code: 'no-leader',
      });
    });

    test('an address that belongs to another member is refused', async () => {
      const a = await start({ memberId: 1 });
      const b = await start({ memberId: 2 });
      a.transport.setPeers([{ id: 9, peerUrls: b.address.peerUrls }]);
      a.transport.send([heartbeat(1, 9)]);
      await eventually(() => a.unreachable.includes(9));
      expect(b.received).toEqual([]);
    });

    test('a member that is not admitted never reaches the handlers', async () => {
      const a = await start({ memberId: 1, logSeq: 41, incarnation: 6 });
      const b = await start({ memberId: 2 });
      const asked: PeerIdentity[] = [];
      b.admit = (identity) => {
        asked.push(identity);
        return 'removed from the cluster';
      };
      a.knows(b);
      a.transport.send([heartbeat(1, 2)]);
      await eventually(() => a.unreachable.includes(2));
      expect(asked[0]).toEqual(a.identity);
      expect(b.received).toEqual([]);
      expect(a.transport.connected(2)).toBe(false);
    });

    test('the dialing side refuses a peer it does not admit, too', async () => {
      const a = await start({ memberId: 1 });
      const b = await start({ memberId: 2, incarnation: 5 });
      a.admit = ({ incarnation }) => (incarnation === 5 ? 'its data went back in time' : null);
      a.knows(b);
      a.transport.send([heartbeat(1, 2)]);
      await eventually(() => a.unreachable.includes(2));
      expect(b.received).toEqual([]);
    });

    test('messages to a member that is not listed are dropped', async () => {
      const [a, b] = await pair();
      a.transport.send([heartbeat(1, 3), heartbeat(1, 2, 5)]);
      await eventually(() => b.received.length === 1);
      expect(b.received).toEqual([heartbeat(1, 2, 5)]);
    });

    test('a member no longer listed loses its connections, in both directions', async () => {
      const [a, b] = await pair();
      b.admit = (identity) => (identity.memberId === 1 ? 'removed' : null);
      b.transport.setPeers([]);
      await eventually(() => !a.transport.connected(2) && !b.transport.connected(1));
      await expect(b.transport.request(1, Buffer.from('x'), never())).rejects.toMatchObject({
        code: 'no-leader',
      });
    });

    test('requests reach the handler in order, and each answer its own request', async () => {
      const [a, b] = await pair();
      const release: (() => void)[] = [];
      b.request = async (_from, body) => {
        await new Promise<void>((resolve) => {
          release.push(resolve);
        });
        return Buffer.from(`answer to ${body.toString()}`);
      };
      const answers = ['one', 'two', 'three'].map(async (body) =>
        a.transport.request(2, Buffer.from(body), never()),
      );
      await eventually(() => release.length === 3);
      expect(b.requests).toEqual(['one', 'two', 'three']);
      for (const go of release.reverse()) go();
      expect((await Promise.all(answers)).map(String)).toEqual([
        'answer to one',
        'answer to two',
        'answer to three',
      ]);
    });

    test('requests go both ways at once', async () => {
      const [a, b] = await pair();
      const [there, back] = await Promise.all([
        a.transport.request(2, Buffer.from('hello'), never()),
        b.transport.request(1, Buffer.from('hello'), never()),
      ]);
      expect([String(there), String(back)]).toEqual(['1:hello', '2:hello']);
    });

    test('a request to nobody surely was not sent', async () => {
      const a = await start({ memberId: 1 });
      await expect(a.transport.request(2, Buffer.from('x'), never())).rejects.toMatchObject({
        code: 'no-leader',
      });
    });

    test('a request under way when the peer goes away has an unknown outcome', async () => {
      const [a, b] = await pair();
      b.request = async () => new Promise<Buffer>(() => {});
      const answer = a.transport.request(2, Buffer.from('x'), never());
      const outcome = expect(answer).rejects.toMatchObject({ code: 'timeout-connection-lost' });
      await eventually(() => b.requests.length === 1);
      await b.transport.close();
      await outcome;
    });

    test('a request whose handler fails has an unknown outcome and harms no other', async () => {
      const [a, b] = await pair();
      b.request = async (_from, body) => {
        if (String(body) === 'bad') throw new StoreError('stopped', 'cannot');
        return Buffer.from('good');
      };
      const bad = a.transport.request(2, Buffer.from('bad'), never());
      const good = a.transport.request(2, Buffer.from('fine'), never());
      await expect(bad).rejects.toMatchObject({ code: 'timeout-connection-lost' });
      expect(String(await good)).toBe('good');
    });

    test('an aborted request rejects at once and its late answer disturbs nobody', async () => {
      const [a, b] = await pair();
      let release = (): void => {};
      b.request = async (_from, body) => {
        if (String(body) === 'slow') {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        }
        return body;
      };
      const abort = new AbortController();
      const slow = a.transport.request(2, Buffer.from('slow'), abort.signal);
      await eventually(() => b.requests.length === 1);
      abort.abort(new StoreError('deadline-exceeded'));
      await expect(slow).rejects.toMatchObject({ code: 'deadline-exceeded' });
      release();
      expect(String(await a.transport.request(2, Buffer.from('next'), never()))).toBe('next');
    });

    test('a snapshot arrives whole and the sender learns that it was taken', async () => {
      const [a, b] = await pair();
      const big = Buffer.alloc(3_000_000, 5);
      await a.transport.sendSnapshot(2, framesOf('head', big, 'tail'), never());
      const whole = Buffer.concat([Buffer.from('head'), big, Buffer.from('tail')]);
      expect(b.snapshots.map((snapshot) => snapshot.equals(whole))).toEqual([true]);
    });

    test('a snapshot that the receiver refuses fails with its reason', async () => {
      const [a, b] = await pair();
      b.snapshot = async (_from, frames) => {
        for await (const frame of frames) if (String(frame) === 'bad') throw new StoreError('corrupt', 'no');
      };
      await expect(a.transport.sendSnapshot(2, framesOf('good', 'bad', 'more'), never())).rejects.toThrow(
        /corrupt: no/,
      );
    });

    test('a snapshot is not taken when the receiver stops reading before the end', async () => {
      const [a, b] = await pair();
      b.snapshot = async (_from, frames) => {
        for await (const _frame of frames) break;
      };
      await expect(a.transport.sendSnapshot(2, framesOf('one', 'two'), never())).rejects.toBeInstanceOf(
        StoreError,
      );
    });

    test('a snapshot whose source fails reaches nobody whole', async () => {
      const [a, b] = await pair();
      async function* broken(): AsyncGenerator<Buffer> {
        yield Buffer.from('one');
        throw new StoreError('storage', 'unreadable');
      }
      let failure: unknown;
      b.snapshot = async (_from, frames) => {
        try {
          for await (const _frame of frames);
        } catch (error) {
          failure = error;
          throw error;
        }
      };
      await expect(a.transport.sendSnapshot(2, broken(), never())).rejects.toMatchObject({ code: 'storage' });
      await eventually(() => failure !== undefined);
      expect(failure).toMatchObject({ code: 'timeout-connection-lost' });
    });

    test('a snapshot aborted midway fails at both ends', async () => {
      const [a, b] = await pair();
      const abort = new AbortController();
      let failure: unknown;
      b.snapshot = async (_from, frames) => {
        try {
          for await (const frame of frames) if (String(frame) === 'one') abort.abort();
        } catch (error) {
          failure = error;
          throw error;
        }
      };
      async function* endless(): AsyncGenerator<Buffer> {
        yield Buffer.from('one');
        await new Promise<void>(() => {});
      }
      await expect(a.transport.sendSnapshot(2, endless(), abort.signal)).rejects.toMatchObject({
        code: 'canceled',
      });
      await eventually(() => failure !== undefined);
      expect(failure).toMatchObject({ code: 'timeout-connection-lost' });
    });

    test('a snapshot to a peer that stops midway fails', async () => {
      const [a, b] = await pair();
      b.snapshot = async (_from, frames) => {
        for await (const _frame of frames) void b.transport.close();
      };
      async function* endless(): AsyncGenerator<Buffer> {
        for (;;) yield Buffer.alloc(1000);
      }
      await expect(a.transport.sendSnapshot(2, endless(), never())).rejects.toMatchObject({
        code: 'timeout-connection-lost',
      });
    });

    test('anybody may probe an address, even before having an identity', async () => {
      const b = await start({ memberId: 2 });
      const nobody = harness.create();
      const answer = await nobody.probe(b.address.peerUrls[0]!, Buffer.from('who?'), never());
      expect(String(answer)).toBe('probed who?');
      await nobody.close();
    });

    test('a probe that is refused fails with the reason', async () => {
      const [a, b] = await pair();
      b.probe = async () => {
        throw new StoreError('stopped', 'ask later');
      };
      await expect(a.transport.probe(b.address.peerUrls[0]!, Buffer.from('who?'), never())).rejects.toThrow(
        /ask later/,
      );
    });

    test('a probe of an address where nobody listens fails', async () => {
      const [a, b] = await pair();
      const url = b.address.peerUrls[0]!;
      await b.transport.close();
      await expect(a.transport.probe(url, Buffer.from('who?'), never())).rejects.toMatchObject({
        code: 'timeout-connection-lost',
      });
    });

    test('the round trip is known once connected, and only then', async () => {
      const [a] = await pair();
      await eventually(() => a.transport.roundTrip(2) !== undefined);
      const { lastMs, smoothedMs, maxMs } = a.transport.roundTrip(2)!;
      expect(lastMs).toBeGreaterThanOrEqual(0);
      expect(smoothedMs).toBeGreaterThanOrEqual(0);
      expect(maxMs).toBeGreaterThanOrEqual(Math.max(lastMs, smoothedMs));
      expect(a.transport.roundTrip(3)).toBeUndefined();
    });

    test('after a peer restarts at its address, messages flow again', async () => {
      const [a, b] = await pair();
      await b.transport.close();
      await eventually(() => !a.transport.connected(2));
      const again = await new TestMember(harness.createAt(b.address.peerUrls), {
        memberId: 2,
        incarnation: 2,
      }).start();
      members.push(again);
      await eventually(() => a.transport.connected(2), 'connected again');
      a.transport.send([heartbeat(1, 2, 8)]);
      await eventually(() => again.received.length === 1);
      expect(again.received).toEqual([heartbeat(1, 2, 8)]);
    });

    test('closing ends what waits and everything after it fails', async () => {
      const [a, b] = await pair();
      b.request = async () => new Promise<Buffer>(() => {});
      const waiting = a.transport.request(2, Buffer.from('x'), never());
      const outcome = expect(waiting).rejects.toMatchObject({ code: 'timeout-connection-lost' });
      await eventually(() => b.requests.length === 1);
      await a.transport.close();
      await outcome;
      await expect(a.transport.request(2, Buffer.from('x'), never())).rejects.toMatchObject({
        code: 'stopped',
      });
      await eventually(() => !b.transport.connected(1));
    });
  });
}
