import { afterEach, describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import type { Level, LevelOp, LevelOpener } from '../../src/member/ports.ts';

const KEY = (i: number): Buffer => Buffer.from(`k${String(i).padStart(6, '0')}`);
const put = (i: number, value = `v${i}`): LevelOp => ({
  type: 'put',
  key: KEY(i),
  value: Buffer.from(value),
});
const ALL = { gte: Buffer.from('k'), lt: Buffer.from('l') };

/** What every implementation of the `level` port must do. */
export function levelContract(name: string, makeOpener: () => Promise<LevelOpener>): void {
  describe(`level contract: ${name}`, () => {
    const open: Level[] = [];
    const create = async (): Promise<{ opener: LevelOpener; level: Level }> => {
      const opener = await makeOpener();
      const level = await opener.open('db', { create: true });
      open.push(level);
      return { opener, level };
    };
    afterEach(async () => {
      for (const level of open.splice(0)) await level.close();
    });

    test('a batch is read back by both kinds of get, deletes included', async () => {
      const { level } = await create();
      await level.batch([put(1), put(2), { type: 'del', key: KEY(1) }], { sync: false });
      expect(level.getSync(KEY(1))).toBeUndefined();
      expect(await level.get(KEY(1))).toBeUndefined();
      expect(level.getSync(KEY(2))).toEqual(Buffer.from('v2'));
      expect(await level.get(KEY(2))).toEqual(Buffer.from('v2'));
    });

    test('keys are ordered as bytes, with an exclusive upper end and a limit', async () => {
      const { level } = await create();
      const keys = [[0x6b], [0x6b, 0], [0x6b, 0x7f], [0x6b, 0x80], [0x6b, 0xff], [0x6c]].map((k) =>
        Buffer.from(k),
      );
      await level.batch(
        keys.toReversed().map((key) => ({ type: 'put', key, value: key })),
        { sync: false },
      );
      const rows = await level.scan({ ...ALL, limit: 10 });
      expect(rows.map(([key]) => key)).toEqual(keys.slice(0, 5));
      const first = await level.scan({ ...ALL, limit: 2 });
      expect(first.map(([key]) => key)).toEqual(keys.slice(0, 2));
      const last = await level.scan({ ...ALL, limit: 2, reverse: true });
      expect(last.map(([key]) => key)).toEqual([keys[4], keys[3]]);
      const bare = await level.scan({ ...ALL, limit: 1, keysOnly: true });
      expect(bare).toEqual([[keys[0], Buffer.alloc(0)]]);
      expect(await level.scan({ gte: Buffer.from('z'), lt: Buffer.from('zz'), limit: 1 })).toEqual([]);
    });

    test('a scan ends early at its byte bound, but never without a row', async () => {
      const { level } = await create();
      const large = 'x'.repeat(800 * 1024);
      await level.batch([put(1, large), put(2, large), put(3, large), put(4, large)], { sync: false });
      const found: Buffer[] = [];
      let gte: Buffer = ALL.gte;
      for (;;) {
        const slice = await level.scan({ gte, lt: ALL.lt, limit: 100 });
        if (slice.length === 0) break;
        expect(slice.length).toBeLessThan(4);
        found.push(...slice.map(([key]) => key));
        gte = Buffer.concat([found.at(-1)!, Buffer.alloc(1)]);
      }
      expect(found).toEqual([1, 2, 3, 4].map(KEY));
    });

    test('a second batch while one is in flight is a bug', async () => {
      const { level } = await create();
      const first = level.batch([put(1)], { sync: false });
      await expect(level.batch([put(2)], { sync: false })).rejects.toThrow(AssertionError);
      await first;
      await level.batch([put(3)], { sync: false });
      expect(level.getSync(KEY(2))).toBeUndefined();
      expect(level.getSync(KEY(3))).toEqual(Buffer.from('v3'));
    });

    test('reads and batches go on during a flush, and reopening finds everything', async () => {
      const { opener, level } = await create();
      await level.batch([put(1)], { sync: false });
      const flushed = level.flush();
      await level.batch([put(2)], { sync: true });
      await flushed;
      await level.compactRange(ALL);
      expect(await level.approximateSizeBytes()).toBeGreaterThan(0);
      await level.close();
      open.length = 0;
      const again = await opener.open('db', { create: false });
      open.push(again);
      expect((await again.scan({ ...ALL, limit: 10 })).map(([key]) => key)).toEqual([KEY(1), KEY(2)]);
    });

    test('opening refuses what is absent, what exists and what is in use', async () => {
      const { opener } = await create();
      await expect(opener.open('other', { create: false })).rejects.toMatchObject({ code: 'storage' });
      await expect(opener.open('db', { create: false })).rejects.toMatchObject({ code: 'data-dir-in-use' });
      await expect(opener.destroy('db')).rejects.toMatchObject({ code: 'data-dir-in-use' });
      await open.pop()!.close();
      await expect(opener.open('db', { create: true })).rejects.toMatchObject({ code: 'storage' });
    });

    test('destroy removes a database, and absence is no error', async () => {
      const { opener, level } = await create();
      await level.batch([put(1)], { sync: false });
      await open.pop()!.close();
      await opener.destroy('db');
      await opener.destroy('db');
      await expect(opener.open('db', { create: false })).rejects.toMatchObject({ code: 'storage' });
      const fresh = await opener.open('db', { create: true });
      open.push(fresh);
      expect(fresh.getSync(KEY(1))).toBeUndefined();
    });

    test('a closed level refuses everything', async () => {
      const { level } = await create();
      await open.pop()!.close();
      await expect(level.batch([put(1)], { sync: false })).rejects.toMatchObject({ code: 'storage' });
      await expect(level.scan({ ...ALL, limit: 1 })).rejects.toMatchObject({ code: 'storage' });
      expect(() => level.getSync(KEY(1))).toThrow(expect.objectContaining({ code: 'storage' }));
    });
  });
}
