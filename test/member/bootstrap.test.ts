import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { pack } from '../../src/lib/packed.ts';
import {
  askAny,
  type BootstrapOptions,
  type ClusterAccount,
  confirmNeverMet,
  decodeAccount,
  encodeAccount,
  findCluster,
  findOwnPlace,
} from '../../src/member/bootstrap.ts';
import type { MemberInfo } from '../../src/member/membership.ts';
import type { Transport } from '../../src/member/ports.ts';
import { ManualClock } from './manual-clock.ts';

const CLUSTER = 77;

/** Members by address: what they answer, or that they do not. */
class Neighbourhood {
  readonly answers = new Map<string, ClusterAccount | Buffer | 'silent' | 'hangs'>();
  readonly asked: string[] = [];
  readonly clock = new ManualClock();
  readonly abort = new AbortController();
  #done = false;

  get options(): BootstrapOptions {
    const probe: Transport['probe'] = async (url, _body, signal) => {
      this.asked.push(url);
      const answer = this.answers.get(url) ?? 'silent';
      if (answer === 'silent') throw new StoreError('timeout-connection-lost');
      if (answer === 'hangs') {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        throw new StoreError('canceled');
      }
      return Buffer.isBuffer(answer) ? answer : encodeAccount(answer);
    };
    const { clock, abort } = this;
    return { transport: { probe } as Transport, clock, logger: silentLogger, signal: abort.signal };
  }

  /** Lets time pass, a round at a time, until the work is done. */
  async until<T>(work: Promise<T>): Promise<T> {
    const end = (): void => {
      this.#done = true;
    };
    work.then(end, end);
    while (!this.#done) await this.round();
    return work;
  }

  async round(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.clock.advance(200);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function member(id: number, isLearner = false): MemberInfo {
  return { id, name: `n${id}`, peerUrls: [urlOf(id)], clientUrls: [], isLearner };
}

function urlOf(id: number): string {
  return `http://n${id}:2380`;
}

function account(members: readonly MemberInfo[], met: readonly number[] = []): ClusterAccount {
  return { clusterId: CLUSTER, members, met, removed: [] };
}

function initial(size: number): { readonly clusterId: number; readonly members: readonly MemberInfo[] } {
  return { clusterId: CLUSTER, members: Array.from({ length: size }, (_, i) => member(i + 1)) };
}

describe('an account', () => {
  test('comes back as it went', () => {
    const whole: ClusterAccount = {
      clusterId: CLUSTER,
      members: [member(1), { ...member(2, true), clientUrls: ['http://c:2379'] }],
      met: [1, 2],
      removed: [9],
    };
    expect(decodeAccount(encodeAccount(whole))).toEqual(whole);
  });

  test('no bytes whatever make the decoder fail otherwise than by a code', () => {
    const bytes = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));
    const valid = encodeAccount(account([member(1)], [1]));
    const damaged = fc.tuple(fc.nat(), fc.nat({ max: 255 })).map(([at, byte]) => {
      const copy = Buffer.from(valid);
      copy[at % copy.length] = byte;
      return copy;
    });
    fc.assert(
      fc.property(fc.oneof(bytes, damaged), (input) => {
        try {
          decodeAccount(input);
        } catch (error) {
          if (!(error instanceof StoreError)) throw error;
          expect(error.code).toBe('cluster-id-mismatch');
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('of another version is not understood', () => {
    expect(() => decodeAccount(pack([2, CLUSTER, [], [], []]))).toThrow('cluster-id-mismatch');
  });
});

describe('a new member', () => {
  test.each([
    { size: 1, others: [] },
    { size: 2, others: [2] },
    { size: 3, others: [2, 3] },
    { size: 5, others: [2, 3, 4] },
  ])('of $size starts once $others have not met it', async ({ size, others }) => {
    const neighbours = new Neighbourhood();
    for (const id of others) neighbours.answers.set(urlOf(id), account([]));
    await neighbours.until(confirmNeverMet(neighbours.options, initial(size), { self: 1 }));
  });

  test('waits while one answer too few has come, and asks nobody twice who has answered', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(2), account([]));
    let done = false;
    const confirmed = confirmNeverMet(neighbours.options, initial(3), { self: 1 }).then(() => {
      done = true;
    });
    for (let i = 0; i < 5; i++) await neighbours.round();
    expect(done).toBe(false);
    neighbours.answers.set(urlOf(3), account([]));
    await neighbours.until(confirmed);
    expect(neighbours.asked.filter((url) => url === urlOf(2))).toHaveLength(1);
  });

  test('finds one that has moved through one that has not', async () => {
    const neighbours = new Neighbourhood();
    const moved = { ...member(3), peerUrls: ['http://moved:2380'] };
    neighbours.answers.set(urlOf(2), account([member(1), member(2), moved]));
    neighbours.answers.set('http://moved:2380', account([member(1), member(2), moved]));
    await neighbours.until(confirmNeverMet(neighbours.options, initial(3), { self: 1 }));
    expect(neighbours.asked).toContain('http://moved:2380');
  });

  test('finds one that has moved where it says itself that it lives', async () => {
    const neighbours = new Neighbourhood();
    const told = new Map([[3, ['http://moved:2380']]]);
    neighbours.answers.set(urlOf(2), account([]));
    neighbours.answers.set('http://moved:2380', account([]));
    await neighbours.until(confirmNeverMet(neighbours.options, initial(3), { self: 1, told }));
    expect(neighbours.asked).toContain('http://moved:2380');
  });

  test('that anybody has met has lost its data', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(2), account([]));
    neighbours.answers.set(urlOf(3), account([], [1, 2]));
    const confirmed = neighbours.until(confirmNeverMet(neighbours.options, initial(3), { self: 1 }));
    await expect(confirmed).rejects.toMatchObject({ code: 'member-data-lost' });
  });

  test('does not start beside members of another cluster', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(2), { ...account([]), clusterId: 5 });
    const confirmed = neighbours.until(confirmNeverMet(neighbours.options, initial(3), { self: 1 }));
    await expect(confirmed).rejects.toMatchObject({ code: 'cluster-id-mismatch' });
  });

  test('gives up when it is told to', async () => {
    const neighbours = new Neighbourhood();
    const confirmed = confirmNeverMet(neighbours.options, initial(3), { self: 1 });
    neighbours.abort.abort(new StoreError('stopped'));
    await expect(neighbours.until(confirmed)).rejects.toMatchObject({ code: 'stopped' });
  });
});

describe('a member that joins', () => {
  const cluster = [member(1), member(2), member(3), member(4)];
  const request = { ownUrls: [urlOf(4)], otherUrls: [1, 2, 3].map(urlOf) };

  test('finds itself by its address', async () => {
    const neighbours = new Neighbourhood();
    for (const id of [1, 2, 3]) neighbours.answers.set(urlOf(id), account(cluster, [1, 2, 3]));
    const place = await neighbours.until(findOwnPlace(neighbours.options, request));
    expect(place).toEqual({ clusterId: CLUSTER, memberId: 4 });
  });

  test('finds itself also when the first that answers has not heard of it yet', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(1), account(cluster.slice(0, 3)));
    neighbours.answers.set(urlOf(2), account(cluster));
    const place = await neighbours.until(findOwnPlace(neighbours.options, request));
    expect(place.memberId).toBe(4);
  });

  test('has to be added first', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(1), account(cluster.slice(0, 3)));
    const place = neighbours.until(findOwnPlace(neighbours.options, request));
    await expect(place).rejects.toMatchObject({ code: 'member-not-found' });
  });

  test('is told by any voter that it has run before, even if the first has not met it', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(1), account(cluster, [2, 3]));
    neighbours.answers.set(urlOf(2), account(cluster, [1, 3, 4]));
    const place = neighbours.until(findOwnPlace(neighbours.options, request));
    await expect(place).rejects.toMatchObject({ code: 'member-data-lost' });
  });

  test('starts with a voter away; learners need not be asked', async () => {
    const neighbours = new Neighbourhood();
    const members = [...cluster.slice(0, 3), member(4, true), member(5, true)];
    for (const id of [1, 2]) neighbours.answers.set(urlOf(id), account(members, [1, 2, 3]));
    await neighbours.until(findOwnPlace(neighbours.options, request));
    expect(neighbours.asked).not.toContain(urlOf(5));
  });

  test('waits for somebody who runs', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(1), account([]));
    const found = findCluster(neighbours.options, request.otherUrls);
    for (let i = 0; i < 3; i++) await neighbours.round();
    neighbours.answers.set(urlOf(3), account(cluster));
    expect((await neighbours.until(found)).members).toHaveLength(4);
  });
});

describe('asking', () => {
  test('goes from address to address; one that hangs costs its time only', async () => {
    const neighbours = new Neighbourhood();
    neighbours.answers.set(urlOf(1), 'hangs');
    neighbours.answers.set(urlOf(3), account(initial(3).members));
    const answer = await neighbours.until(askAny(neighbours.options, [1, 2, 3].map(urlOf)));
    expect(answer?.members).toHaveLength(3);
    expect(neighbours.clock.timerCount).toBe(0);
  });

  test('without any answer tells so', async () => {
    const neighbours = new Neighbourhood();
    expect(await neighbours.until(askAny(neighbours.options, [urlOf(1)]))).toBeNull();
  });
});
