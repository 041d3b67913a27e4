import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type Kv,
  type KvCall,
  type KvCompare,
  KvError,
  type KvErrorCode,
  type KvOp,
  type KvRangeRequest,
  type KvTxnAnswer,
  type KvWatchBatch,
  type KvWatchRequest,
  type Principal,
} from '../../src/kv/kv.ts';
import { ALL_FROM, prefixEnd } from '../../src/lib/range-end.ts';

/** A store without authentication, for one file of tests. */
export interface KvWorld {
  /** A port of its own to the store. Whoever asks closes it. */
  connect(): Promise<Kv>;
  /** Forgets the history before a revision. */
  compact(revision: number): Promise<void>;
  /** Resolves when so many seconds are over for the leases of the store. */
  elapse(seconds: number): Promise<void>;
  stop(): Promise<void>;
}

/** The shortest lease that every store grants as it is asked for. */
const TTL_SECONDS = 2;
const MANY_REVISIONS = 520;

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const NOBODY_CANCELS = new AbortController().signal;
export const AS_SERVICE: KvCall = { principal: { type: 'service' }, signal: NOBODY_CANCELS };

/** The call of somebody else. */
export function as(principal: Principal): KvCall {
  return { principal, signal: NOBODY_CANCELS };
}

/** What a call failed with. */
export async function codeOf(call: Promise<unknown>): Promise<KvErrorCode> {
  const failure = await call.then(
    () => new Error('the call did not fail'),
    (error: unknown) => error,
  );
  if (failure instanceof KvError) return failure.code;
  throw failure;
}

/** What every implementation of the port must do. Each test has keys of its own in the one store. */
export function kvContract(name: string, open: () => Promise<KvWorld>): void {
  describe(`kv contract: ${name}`, () => {
    let world: KvWorld;
    let kv: Kv;
    let tests = 0;
    let prefix: string;

    beforeAll(async () => {
      world = await open();
    });
    afterAll(() => world.stop());
    beforeEach(async () => {
      tests += 1;
      prefix = `t${tests}/`;
      kv = await world.connect();
    });
    afterEach(() => kv.close());

    const key = (text: string): Buffer => bytes(prefix + text);
    const everything = (): { readonly key: Buffer; readonly rangeEnd: Buffer } => ({
      key: key(''),
      rangeEnd: prefixEnd(key('')),
    });
    const putOp = (text: string, value: string | Buffer = text, lease = 0n): KvOp => ({
      type: 'put',
      key: key(text),
      value: Buffer.from(value),
      lease,
    });
    const deleteOp = (text: string): KvOp => ({ type: 'delete', key: key(text) });
    const rangeOp = (text: string): KvOp => ({ type: 'range', key: key(text) });
    const perform = (...success: KvOp[]): Promise<KvTxnAnswer> =>
      kv.txn({ compare: [], success, failure: [] }, AS_SERVICE);
    const put = async (text: string, value: string | Buffer = text, lease = 0n): Promise<number> =>
      (await perform(putOp(text, value, lease))).revision;
    const range = (request: Partial<KvRangeRequest> = {}): ReturnType<Kv['range']> =>
      kv.range({ ...everything(), consistency: { type: 'linearizable' }, ...request }, AS_SERVICE);
    const names = (rows: readonly { readonly key: Buffer }[]): string[] =>
      rows.map((row) => row.key.toString('latin1').slice(prefix.length));
    const watch = (
      request: Partial<KvWatchRequest> & { readonly startRevision: number },
      call: KvCall = AS_SERVICE,
    ): Watching => new Watching(kv.watch({ ...everything(), ...request }, call), prefix);

    describe('range', () => {
      test('a key that is not there is no row', async () => {
        const revision = await put('other');
        expect(await kv.range({ key: key('a'), consistency: { type: 'linearizable' } }, AS_SERVICE)).toEqual({
          revision,
          rows: [],
          more: false,
          count: 0,
        });
      });

      test('rows say when they were created and changed, and how often', async () => {
        const created = await put('a', '1');
        const changed = await put('a', '2');
        const row = { key: key('a'), createRevision: created, lease: 0n };
        expect((await range()).rows).toEqual([
          { ...row, value: bytes('2'), modRevision: changed, version: 2 },
        ]);
        await perform(deleteOp('a'));
        const again = await put('a', '3');
        expect((await range()).rows).toEqual([
          { ...row, value: bytes('3'), createRevision: again, modRevision: again, version: 1 },
        ]);
      });

      test('keys come in the order of their bytes, the end is not among them', async () => {
        const texts = ['a', 'a\0', 'a\x7f', 'a\x80', 'a\xff', 'b'];
        await perform(...texts.toReversed().map((text) => putOp(text, '')));
        expect(names((await range()).rows)).toEqual(texts);
        const { rows } = await range({ key: key('a\0'), rangeEnd: key('b') });
        expect(names(rows)).toEqual(texts.slice(1, 5));
        expect((await range({ key: key('b'), rangeEnd: key('a') })).rows).toEqual([]);
      });

      test('an end of one zero byte is the end of all keys', async () => {
        const last = bytes(`\xff${prefix}`);
        await kv.txn(
          { compare: [], success: [{ type: 'put', key: last, value: last }], failure: [] },
          AS_SERVICE,
        );
        const { rows } = await range({ key: last, rangeEnd: ALL_FROM });
        expect(rows[0]?.key).toEqual(last);
      });

      test('bytes of all kinds, none and many', async () => {
        const value = Buffer.from(Array.from({ length: 512 * 1024 }, (_, i) => i & 0xff));
        const name = value.subarray(0, 256).toString('latin1');
        await perform(putOp(name, value), putOp('empty', ''));
        const { rows } = await range();
        expect(rows.find((row) => row.key.equals(key('empty')))?.value.length).toBe(0);
        expect(rows.find((row) => row.key.equals(key(name)))?.value.equals(value)).toBe(true);
      });

      test('a limit leaves rows out and says so', async () => {
        await perform(...['a', 'b', 'c'].map((text) => putOp(text)));
        const page = await range({ limit: 2 });
        expect({ ...page, rows: names(page.rows) }).toMatchObject({
          rows: ['a', 'b'],
          more: true,
          count: 3,
        });
        for (const limit of [0, 3, 4]) {
          const whole = await range({ limit });
          expect([limit, names(whole.rows), whole.more]).toEqual([limit, ['a', 'b', 'c'], false]);
        }
      });

      test('without values, or only counted', async () => {
        await perform(putOp('a', 'value'), putOp('b', 'value'));
        const keys = await range({ keysOnly: true });
        expect(keys.rows.map(({ value, version }) => [value.length, version])).toEqual([
          [0, 1],
          [0, 1],
        ]);
        expect(await range({ countOnly: true })).toMatchObject({ rows: [], count: 2 });
      });

      test('what was last changed before a revision is left out, but counted', async () => {
        await put('a');
        const second = await put('b');
        await put('c');
        const found = await range({ minModRevision: second });
        expect({ ...found, rows: names(found.rows) }).toMatchObject({ rows: ['b', 'c'], count: 3 });
        const page = await range({ minModRevision: second, limit: 1 });
        expect([names(page.rows), page.more]).toEqual([['b'], true]);
      });

      test('the past is as it was, the future is refused', async () => {
        const first = await put('a', '1');
        await put('a', '2');
        const { revision } = await perform(deleteOp('a'));
        expect((await range({ revision: first })).rows.map(({ value }) => value.toString())).toEqual(['1']);
        expect((await range({ revision: first - 1 })).rows).toEqual([]);
        expect((await range({ revision: 0 })).rows).toEqual([]);
        // Of the store, not of what was read.
        expect((await range({ revision: first })).revision).toBe(revision);
        expect(await codeOf(range({ revision: revision + 100_000 }))).toBe('future-revision');
      });

      test('what was compacted is gone, from its revision on everything can be read', async () => {
        const first = await put('a', '1');
        const second = await put('a', '2');
        await put('a', '3');
        await world.compact(second);
        expect(await codeOf(range({ revision: first }))).toBe('compacted');
        expect((await range({ revision: second })).rows[0]?.value.toString()).toBe('2');
      });

      test('each consistency sees what was written before, as this port can tell', async () => {
        const revision = await put('a');
        for (const consistency of [
          { type: 'linearizable' },
          { type: 'bounded', maxStalenessMs: 0 },
        ] as const) {
          const answer = await range({ consistency });
          expect(names(answer.rows)).toEqual(['a']);
          expect(answer.revision).toBeGreaterThanOrEqual(revision);
          expect(answer.ageMs ?? 0).toBeGreaterThanOrEqual(0);
        }
        const local = await range({ consistency: { type: 'serializable' } });
        expect(local.ageMs).toBeUndefined();
        expect(names(local.rows)).toEqual(['a']);
      });

      test('a bound is a whole number of milliseconds', async () => {
        for (const maxStalenessMs of [-1, 0.5, Number.NaN, 2 ** 31 + 1]) {
          const consistency = { type: 'bounded', maxStalenessMs } as const;
          expect(await codeOf(range({ consistency }))).toBe('invalid-argument');
        }
      });

      test('a range has a key', async () => {
        const request = { key: bytes(''), consistency: { type: 'linearizable' } } as const;
        expect(await codeOf(kv.range(request, AS_SERVICE))).toBe('invalid-argument');
      });
    });

    describe('txn', () => {
      test('performs one side, all of it at one revision', async () => {
        const before = await put('a', '1');
        const compare: KvCompare[] = [
          { key: key('a'), target: 'mod', result: 'equal', number: before },
          { key: key('b'), target: 'create', result: 'equal', number: 0 },
        ];
        const request = {
          compare,
          success: [putOp('a', '2'), putOp('b'), deleteOp('none')],
          failure: [rangeOp('a'), putOp('c')],
        };
        const done = await kv.txn(request, AS_SERVICE);
        expect(done).toEqual({
          revision: before + 1,
          succeeded: true,
          responses: [{ type: 'put' }, { type: 'put' }, { type: 'delete', deleted: 0 }],
        });
        expect((await range()).rows.map(({ modRevision }) => modRevision)).toEqual([before + 1, before + 1]);

        const refused = await kv.txn(request, AS_SERVICE);
        expect(refused).toMatchObject({ revision: before + 2, succeeded: false });
        expect(refused.responses).toMatchObject([
          { type: 'range', rows: [{ value: bytes('2') }], more: false, count: 1 },
          { type: 'put' },
        ]);
        expect(names((await range()).rows)).toEqual(['a', 'b', 'c']);
      });

      test('every comparison must hold; none always do', async () => {
        await put('a', '1');
        const holds: KvCompare = { key: key('a'), target: 'version', result: 'equal', number: 1 };
        const fails: KvCompare = { key: key('a'), target: 'version', result: 'equal', number: 2 };
        const succeeded = async (...compare: KvCompare[]): Promise<boolean> =>
          (await kv.txn({ compare, success: [], failure: [] }, AS_SERVICE)).succeeded;
        expect(await succeeded()).toBe(true);
        expect(await succeeded(holds)).toBe(true);
        expect(await succeeded(holds, fails)).toBe(false);
        expect(await succeeded(fails, holds)).toBe(false);
      });

      test('comparisons of every target with every relation', async () => {
        const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        const createRevision = await put('a', 'm');
        const modRevision = await put('a', 'm', lease);
        const around = (number: number): number[] => [number - 1, number, number + 1];
        const operands = [
          ...around(2).map((number) => ({ target: 'version', number }) as const),
          ...around(createRevision).map((number) => ({ target: 'create', number }) as const),
          ...around(modRevision).map((number) => ({ target: 'mod', number }) as const),
          ...['l', 'm', 'n'].map((value) => ({ target: 'value', value: bytes(value) }) as const),
          ...[lease - 1n, lease, lease + 1n].map((each) => ({ target: 'lease', lease: each }) as const),
        ];
        const expected = { equal: [1], 'not-equal': [0, 2], greater: [0], less: [2] } as const;
        for (const [result, positions] of Object.entries(expected)) {
          const held: number[] = [];
          for (const [at, operand] of operands.entries()) {
            const compare = [{ key: key('a'), result, ...operand } as KvCompare];
            const { succeeded } = await kv.txn({ compare, success: [], failure: [] }, AS_SERVICE);
            if (succeeded) held.push(at);
          }
          const groups = [0, 3, 6, 9, 12];
          const wanted = groups.flatMap((group) => positions.map((position) => group + position));
          expect([result, held]).toEqual([result, wanted]);
        }
        await kv.leaseRevoke(lease, AS_SERVICE);
      });

      test('of a key that is not there the numbers are 0, and no comparison of its value holds', async () => {
        const holds = async (compare: KvCompare): Promise<boolean> =>
          (await kv.txn({ compare: [compare], success: [], failure: [] }, AS_SERVICE)).succeeded;
        for (const target of ['version', 'create', 'mod'] as const) {
          expect(await holds({ key: key('a'), target, result: 'equal', number: 0 })).toBe(true);
          expect(await holds({ key: key('a'), target, result: 'greater', number: 0 })).toBe(false);
          expect(await holds({ key: key('a'), target, result: 'not-equal', number: 0 })).toBe(false);
        }
        expect(await holds({ key: key('a'), target: 'lease', result: 'equal', lease: 0n })).toBe(true);
        for (const result of ['equal', 'not-equal', 'greater', 'less'] as const) {
          expect(await holds({ key: key('a'), target: 'value', result, value: bytes('') })).toBe(false);
        }
      });

      test('operations see those before them', async () => {
        await perform(putOp('a', '1'), putOp('b', '1'));
        const { revision, responses } = await perform(
          putOp('a', '2'),
          { type: 'range', ...everything(), limit: 1 },
          { type: 'delete', key: key('b'), rangeEnd: key('c') },
          { type: 'range', ...everything(), countOnly: true },
        );
        expect(responses).toMatchObject([
          { type: 'put' },
          {
            type: 'range',
            rows: [{ value: bytes('2'), modRevision: revision, version: 2 }],
            more: true,
            count: 2,
          },
          { type: 'delete', deleted: 1 },
          { type: 'range', rows: [], count: 1 },
        ]);
      });

      test('what changes nothing makes no revision', async () => {
        const revision = await put('a');
        expect(await perform(rangeOp('a'))).toMatchObject({ revision, succeeded: true });
        expect(await perform(deleteOp('b'))).toMatchObject({
          revision,
          responses: [{ type: 'delete', deleted: 0 }],
        });
        expect(await perform()).toEqual({ revision, succeeded: true, responses: [] });
        expect((await range()).revision).toBe(revision);
      });

      test('a key is put once, and not deleted beside', async () => {
        const revision = await put('a', '1');
        const bad: KvOp[][] = [
          [putOp('a', '2'), putOp('a', '3')],
          [putOp('b'), { type: 'delete', ...everything() }],
          [deleteOp('b'), putOp('b')],
        ];
        for (const ops of bad) {
          expect(await codeOf(perform(...ops))).toBe('invalid-argument');
          // Also on the side that is not performed.
          const other = { compare: [], success: [putOp('c')], failure: ops };
          expect(await codeOf(kv.txn(other, AS_SERVICE))).toBe('invalid-argument');
        }
        expect(await range()).toMatchObject({ revision, count: 1 });
        // Both sides may put it, and what is deleted may be deleted twice.
        const apart = { compare: [], success: [putOp('a', '2')], failure: [putOp('a', '3')] };
        expect((await kv.txn(apart, AS_SERVICE)).revision).toBe(revision + 1);
        const { responses } = await perform(deleteOp('a'), { type: 'delete', ...everything() });
        expect(responses).toEqual([
          { type: 'delete', deleted: 1 },
          { type: 'delete', deleted: 0 },
        ]);
      });

      test('more operations than the limit are too many', async () => {
        const most = kv.limits.txnOpsMax;
        const ops = (count: number): KvOp[] => Array.from({ length: count }, (_, i) => putOp(`k${i}`, ''));
        const compares = (count: number): KvCompare[] =>
          Array.from({ length: count }, (_, i) => ({
            key: key(`k${i}`),
            target: 'create',
            result: 'equal',
            number: 0,
          }));
        const sides = { success: [], failure: [] };
        expect(await codeOf(perform(...ops(most + 1)))).toBe('too-large');
        expect(await codeOf(kv.txn({ compare: [], success: [], failure: ops(most + 1) }, AS_SERVICE))).toBe(
          'too-large',
        );
        expect(await codeOf(kv.txn({ compare: compares(most + 1), ...sides }, AS_SERVICE))).toBe('too-large');
        expect((await range()).count).toBe(0);
        const full = { compare: compares(most), success: ops(most), failure: ops(most) };
        expect((await kv.txn(full, AS_SERVICE)).responses.length).toBe(most);
      });

      test('more bytes than the limit are too many', async () => {
        const value = Buffer.alloc(kv.limits.requestBytesMax / 2);
        expect(await codeOf(perform(putOp('a', value), putOp('b', value)))).toBe('too-large');
        expect((await range()).count).toBe(0);
        await perform(putOp('a', value));
        expect((await range({ keysOnly: true })).count).toBe(1);
      });

      test('nothing is done when one operation cannot be', async () => {
        const first = await put('a', '1');
        const second = await put('a', '2');
        expect(await codeOf(perform(putOp('b'), putOp('c', 'c', 0x7fff_ffffn)))).toBe('lease-not-found');
        const future: KvOp = { type: 'range', key: key('a'), revision: second + 100_000 };
        expect(await codeOf(perform(putOp('b'), future))).toBe('future-revision');
        await world.compact(second);
        const past: KvOp = { type: 'range', key: key('a'), revision: first };
        expect(await codeOf(perform(putOp('b'), past))).toBe('compacted');
        expect(await range()).toMatchObject({ count: 1, revision: second });
      });

      test('every operation and comparison has a key', async () => {
        const nameless = bytes('');
        const bad: KvOp[] = [
          { type: 'put', key: nameless, value: nameless },
          { type: 'delete', key: nameless },
          { type: 'range', key: nameless },
        ];
        for (const op of bad) expect(await codeOf(perform(putOp('a'), op))).toBe('invalid-argument');
        const compare: KvCompare[] = [{ key: nameless, target: 'mod', result: 'equal', number: 0 }];
        const request = { compare, success: [putOp('a')], failure: [] };
        expect(await codeOf(kv.txn(request, AS_SERVICE))).toBe('invalid-argument');
        expect((await range()).count).toBe(0);
      });
    });

    describe('watch', () => {
      test('from now on: first where that is, then what comes', async () => {
        const before = await put('a');
        using watching = watch({ startRevision: 0 });
        expect(await watching.next()).toEqual({ revision: before, events: [] });
        const first = await put('b');
        const second = await put('b');
        expect(await watching.events(2)).toEqual([`put b ${first}`, `put b ${second}`]);
      });

      test('from the past: each change in order, each revision whole', async () => {
        const first = await put('a');
        const { revision } = await perform(putOp('b'), putOp('c'), deleteOp('a'));
        await put('a');
        using watching = watch({ startRevision: first });
        expect(await watching.events(5)).toEqual([
          `put a ${first}`,
          `put b ${revision}`,
          `put c ${revision}`,
          `delete a ${revision}`,
          `put a ${revision + 1}`,
        ]);
        const live = await perform(deleteOp('b'), deleteOp('c'));
        expect(await watching.events(2)).toEqual([`delete b ${live.revision}`, `delete c ${live.revision}`]);
      });

      test('from the future: what comes before is not told', async () => {
        const revision = await put('a');
        using watching = watch({ startRevision: revision + 3 });
        const told = watching.events(1);
        for (let i = 0; i < 4; i += 1) await put('a');
        expect(await told).toEqual([`put a ${revision + 3}`]);
      });

      test('of the range only, and of one key', async () => {
        const first = await put('a');
        await put('b');
        const third = await put('c');
        await put('b');
        const last = await put('c');
        using one = watch({ key: key('c'), rangeEnd: bytes(''), startRevision: first });
        using rest = watch({ key: key('b'), rangeEnd: key('c'), startRevision: first });
        expect(await one.events(2)).toEqual([`put c ${third}`, `put c ${last}`]);
        expect(await rest.events(2)).toEqual([`put b ${first + 1}`, `put b ${third + 1}`]);
      });

      test('events carry whole rows', async () => {
        const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        const created = await put('a', '1', lease);
        const changed = await put('a', '2', lease);
        using watching = watch({ startRevision: changed });
        const { events } = await watching.next();
        expect(events).toEqual([
          {
            type: 'put',
            row: {
              key: key('a'),
              value: bytes('2'),
              createRevision: created,
              modRevision: changed,
              version: 2,
              lease,
            },
            previous: null,
          },
        ]);
      });

      test('the row before, where it is asked for and there is one', async () => {
        const first = await put('a', '1');
        const second = await put('a', '2');
        await perform(deleteOp('a'));
        using plain = watch({ startRevision: first });
        using asking = watch({ startRevision: first, prevKv: true });
        await plain.events(3);
        await asking.events(3);
        expect(plain.seen.map(({ previous }) => previous)).toEqual([null, null, null]);
        expect(asking.seen.map(({ previous }) => previous)).toMatchObject([
          null,
          { key: key('a'), value: bytes('1'), modRevision: first, version: 1 },
          { key: key('a'), value: bytes('2'), modRevision: second, version: 2 },
        ]);
        const next = await perform(putOp('a', '3'), putOp('b', '1'));
        const live = await perform(putOp('a', '4'), deleteOp('b'));
        await asking.events(4);
        const told = asking.seen
          .slice(3)
          .map(({ type, row, previous }) => [type, row.modRevision, previous?.value.toString()]);
        expect(told).toEqual([
          ['put', next.revision, undefined],
          ['put', next.revision, undefined],
          ['put', live.revision, '3'],
          ['delete', live.revision, '1'],
        ]);
      });

      test('history that is gone is an error that says where it begins', async () => {
        const first = await put('a', '1');
        const second = await put('a', '2');
        const third = await put('a', '3');
        await world.compact(second);
        using watching = watch({ startRevision: first });
        const failure = await watching.next().catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(KvError);
        expect(failure).toMatchObject({ code: 'compacted', compactRevision: second });
        using anew = watch({ startRevision: second });
        expect(await anew.events(2)).toEqual([`put a ${second}`, `put a ${third}`]);
      });

      test('many revisions while they are made, read slowly: none is lost, repeated or split', async () => {
        const first = await put('start');
        using watching = watch({ startRevision: first });
        const writing = (async () => {
          for (let i = 0; i < MANY_REVISIONS; i += 4) {
            await Promise.all(
              [0, 1, 2, 3].map((lane) => perform(putOp(`a${lane}`, `${i}`), putOp(`b${lane}`, `${i}`))),
            );
          }
        })();
        const wanted = 1 + 2 * MANY_REVISIONS;
        while (watching.seen.length < wanted) {
          await watching.next();
          // Others get their turn: what is told waits meanwhile.
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        await writing;
        const revisions = watching.seen.map(({ row }) => row.modRevision);
        const twice = Array.from({ length: MANY_REVISIONS }, (_, i) => [first + 1 + i, first + 1 + i]);
        expect(revisions).toEqual([first, ...twice.flat()]);
        expect(watching.split).toEqual([]);
      });

      test('it ends without an error when the signal is aborted', async () => {
        const control = new AbortController();
        const revision = await put('a');
        using watching = watch({ startRevision: revision }, { ...AS_SERVICE, signal: control.signal });
        await watching.next();
        const end = watching.end();
        control.abort();
        expect(await end).toBe('ended');
        using late = watch({ startRevision: revision }, { ...AS_SERVICE, signal: control.signal });
        expect(await late.end()).toBe('ended');
      });

      test('it ends when the loop is left, and others go on', async () => {
        const first = await put('a');
        using other = watch({ startRevision: first });
        for await (const { events } of kv.watch({ ...everything(), startRevision: first }, AS_SERVICE)) {
          if (events.length > 0) break;
        }
        const second = await put('b');
        expect(await other.events(2)).toEqual([`put a ${first}`, `put b ${second}`]);
      });

      test('a watch has a key', async () => {
        using watching = watch({ key: bytes(''), startRevision: 0 });
        expect(await codeOf(watching.next())).toBe('invalid-argument');
      });
    });

    describe('lease', () => {
      test('its keys end with it, all at one revision', async () => {
        const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        const { revision } = await perform(putOp('a', '', lease), putOp('b', '', lease), putOp('c', ''));
        expect((await range()).rows.map((row) => row.lease)).toEqual([lease, lease, 0n]);
        using watching = watch({ startRevision: revision + 1 });
        await kv.leaseRevoke(lease, AS_SERVICE);
        expect((await watching.events(2)).toSorted()).toEqual([
          `delete a ${revision + 1}`,
          `delete b ${revision + 1}`,
        ]);
        expect(names((await range()).rows)).toEqual(['c']);
      });

      test('a key that is put anew without it stays', async () => {
        const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        const other = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        expect(other).not.toBe(lease);
        await perform(putOp('a', '', lease), putOp('b', '', lease), putOp('c', '', lease));
        await perform(putOp('a', ''), putOp('b', '', other));
        await kv.leaseRevoke(lease, AS_SERVICE);
        expect(names((await range()).rows)).toEqual(['a', 'b']);
        await kv.leaseRevoke(other, AS_SERVICE);
        expect(names((await range()).rows)).toEqual(['a']);
      });

      test('it is renewed while it lasts', async () => {
        const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        expect(await kv.leaseKeepAlive(lease, AS_SERVICE)).toBe(60);
        await kv.leaseRevoke(lease, AS_SERVICE);
        expect(await kv.leaseKeepAlive(lease, AS_SERVICE)).toBe(0);
        expect(await codeOf(put('a', 'a', lease))).toBe('lease-not-found');
        // One that is gone already is fine.
        await kv.leaseRevoke(lease, AS_SERVICE);
      });

      test('it ends by its time', async () => {
        const short = await kv.leaseGrant({ ttlSeconds: TTL_SECONDS }, AS_SERVICE);
        const long = await kv.leaseGrant({ ttlSeconds: 600 }, AS_SERVICE);
        const { revision } = await perform(putOp('a', '', short), putOp('b', '', long));
        using watching = watch({ startRevision: revision + 1 });
        const told = watching.events(1);
        await world.elapse(TTL_SECONDS);
        // However little happens otherwise, somebody calls.
        while ((await range()).count > 1) await new Promise((resolve) => setTimeout(resolve, 20));
        expect(await told).toEqual([`delete a ${revision + 1}`]);
        expect(await kv.leaseKeepAlive(short, AS_SERVICE)).toBe(0);
        expect(await kv.leaseKeepAlive(long, AS_SERVICE)).toBe(600);
      });

      test('it lasts whole seconds, from one', async () => {
        for (const ttlSeconds of [0, -1, 1.5, Number.NaN, 1e12]) {
          expect(await codeOf(kv.leaseGrant({ ttlSeconds }, AS_SERVICE))).toBe('invalid-argument');
        }
      });
    });

    describe('without authentication', () => {
      const principals: readonly Principal[] = [
        { type: 'service' },
        { type: 'anonymous' },
        { type: 'token', token: 'whatever' },
      ];

      test('nobody is asked who they are', async () => {
        await put('a');
        for (const principal of principals) {
          const call = as(principal);
          expect(await kv.authEnabled(call)).toBe(false);
          for (const access of ['read', 'write'] as const) {
            expect(await kv.permits({ ...everything(), access }, call)).toEqual({
              user: null,
              permitted: true,
            });
          }
          const request = { ...everything(), consistency: { type: 'linearizable' } } as const;
          expect((await kv.range(request, call)).count).toBe(1);
          await kv.txn({ compare: [], success: [putOp('a')], failure: [] }, call);
        }
      });

      test('nobody can sign in', async () => {
        const login = { name: 'root', password: 'root' };
        expect(await codeOf(kv.signIn(login, as({ type: 'anonymous' })))).toBe('invalid-argument');
      });
    });

    describe('the end', () => {
      const control = new AbortController();
      control.abort();
      const calls = (port: Kv, call: KvCall): Promise<unknown>[] => [
        port.range({ ...everything(), consistency: { type: 'linearizable' } }, call),
        port.txn({ compare: [], success: [putOp('late')], failure: [] }, call),
        port.leaseGrant({ ttlSeconds: 60 }, call),
        port.leaseKeepAlive(1n, call),
        port.leaseRevoke(1n, call),
        port.authEnabled(call),
        port.signIn({ name: 'a', password: 'b' }, call),
        port.permits({ ...everything(), access: 'read' }, call),
      ];

      test('a call whose signal is aborted is canceled, and does nothing', async () => {
        const failed = calls(kv, { ...AS_SERVICE, signal: control.signal });
        expect(await Promise.all(failed.map(codeOf))).toEqual(failed.map(() => 'canceled'));
        expect((await range()).count).toBe(0);
      });

      test('close ends watches and calls, and leases stay', async () => {
        const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        const revision = await put('a', '', lease);
        const closing = await world.connect();
        const request = { ...everything(), startRevision: revision };
        using idle = new Watching(closing.watch(request, AS_SERVICE), prefix);
        await idle.next();
        const waiting = codeOf(idle.next());
        const told = await closing.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
        await closing.close();
        await closing.close();
        expect(await waiting).toBe('closed');
        const failed = calls(closing, AS_SERVICE);
        expect(await Promise.all(failed.map(codeOf))).toEqual(failed.map(() => 'closed'));
        using late = new Watching(closing.watch(request, AS_SERVICE), prefix);
        expect(await codeOf(late.next())).toBe('closed');
        expect(await kv.leaseKeepAlive(told, AS_SERVICE)).toBe(60);
        expect(names((await range()).rows)).toEqual(['a']);
      });
    });
  });
}

/** One watch, read batch by batch. */
class Watching {
  /** All events so far. */
  readonly seen: KvWatchBatch['events'][number][] = [];
  /** Revisions whose events came in more than one batch, and batches that went back. */
  readonly split: number[] = [];
  readonly #iterator: AsyncIterator<KvWatchBatch>;
  readonly #prefix: string;
  #told = 0;
  #revision = 0;

  constructor(batches: AsyncIterable<KvWatchBatch>, prefix: string) {
    this.#iterator = batches[Symbol.asyncIterator]();
    this.#prefix = prefix;
  }

  async next(): Promise<KvWatchBatch> {
    const { value, done } = await this.#iterator.next();
    if (done === true) throw new Error('the watch has ended');
    const { events, revision } = value;
    const first = events[0]?.row.modRevision ?? Infinity;
    const last = events.at(-1)?.row.modRevision ?? 0;
    if (first <= this.#revision || last > revision || revision < this.#revision) this.split.push(revision);
    this.#revision = revision;
    this.seen.push(...events);
    return value;
  }

  /** The next so many events, or more where a batch has more, as text. */
  async events(count: number): Promise<string[]> {
    const from = this.#told;
    while (this.seen.length < from + count) await this.next();
    this.#told = this.seen.length;
    return this.seen.slice(from).map(({ type, row }) => {
      return `${type} ${row.key.toString('latin1').slice(this.#prefix.length)} ${row.modRevision}`;
    });
  }

  /** Resolves when it has ended without an error. */
  async end(): Promise<'ended'> {
    while ((await this.#iterator.next()).done !== true);
    return 'ended';
  }

  /** Not waited for: an iterator that waits for its next batch is left when that comes, or when its port is closed. */
  [Symbol.dispose](): void {
    void this.#iterator.return?.();
  }
}
