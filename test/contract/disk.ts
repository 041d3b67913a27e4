import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import type { Disk } from '../../src/member/ports.ts';

/** What every implementation of the `disk` port does. `make` gives one with an empty root. */
export function diskContract(
  name: string,
  make: () => Promise<{ readonly disk: Disk; readonly cleanUp: () => Promise<void> }>,
): void {
  describe(`disk contract: ${name}`, () => {
    let disk: Disk;
    let cleanUp: () => Promise<void>;
    beforeEach(async () => {
      ({ disk, cleanUp } = await make());
    });
    afterEach(() => cleanUp());

    const put = async (path: string, content: string): Promise<void> => {
      const file = await disk.open(path, 'create');
      await file.write(Buffer.from(content), 0);
      await file.datasync();
      await file.close();
    };
    const refusal = async (work: Promise<unknown>): Promise<unknown> => {
      const error: unknown = await work.then(
        () => null,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(StoreError);
      return (error as StoreError).code;
    };

    test('a directory is made with its parents, and once more without an error', async () => {
      await disk.makeDirectory('a/b');
      await disk.makeDirectory('a/b');
      expect(await disk.exists('a/b')).toBe(true);
      expect(await disk.list('a')).toEqual(['b']);
      await disk.syncDirectory('a');
      await disk.syncDirectory('');
    });

    test('names directly below are listed in order; an absent directory is empty', async () => {
      await disk.makeDirectory('d/sub');
      await put('d/sub/deep', '');
      await put('d/z', '');
      await put('d/B', '');
      expect(await disk.list('d')).toEqual(['B', 'sub', 'z']);
      expect(await disk.list('')).toEqual(['d']);
      expect(await disk.list('nothing')).toEqual([]);
    });

    test('what is written can be read, at any offset, up to the end of the file', async () => {
      const file = await disk.open('f', 'create');
      await file.write(Buffer.from('hello'), 0);
      await file.write(Buffer.from('World'), 1000);
      await file.write(Buffer.from('J'), 0);
      expect(await file.sizeBytes()).toBe(1005);
      expect((await file.read({ offset: 0, length: 6 })).toString()).toBe('Jello\0');
      expect((await file.read({ offset: 998, length: 100 })).toString()).toBe('\0\0World');
      expect(await file.read({ offset: 2000, length: 5 })).toHaveLength(0);
      await file.datasync();
      await file.close();
      const content = await disk.readFile('f');
      expect(content).toHaveLength(1005);
      expect(content.subarray(0, 5).toString()).toBe('Jello');
    });

    test('what is written durably can be read, and changes nothing beside it', async () => {
      await put('f', 'abcdef');
      const file = await disk.open('f', 'write');
      await file.writeDurably(Buffer.from('XY'), 2);
      await disk.rename({ from: 'f', to: 'g' });
      await put('f', 'another');
      await file.writeDurably(Buffer.from('Z'), 7);
      await file.close();
      expect((await disk.readFile('g')).toString()).toBe('abXYef\0Z');
      expect((await disk.readFile('f')).toString()).toBe('another');
    });

    test('an opened file keeps its content and is changed in place', async () => {
      await put('f', 'abcdef');
      const file = await disk.open('f', 'write');
      await file.write(Buffer.from('XY'), 2);
      await file.close();
      expect((await disk.readFile('f')).toString()).toBe('abXYef');
    });

    test('truncation cuts, and growing again shows zeros', async () => {
      await put('f', 'abcdef');
      const file = await disk.open('f', 'write');
      await file.truncate(2);
      expect(await file.sizeBytes()).toBe(2);
      await file.write(Buffer.from('z'), 4);
      await file.close();
      expect((await disk.readFile('f')).toString()).toBe('ab\0\0z');
    });

    test('create refuses an existing file; write and read refuse an absent one', async () => {
      await put('f', 'x');
      expect(await refusal(disk.open('f', 'create'))).toBe('storage');
      expect(await refusal(disk.open('g', 'write'))).toBe('storage');
      expect(await refusal(disk.open('g', 'read'))).toBe('storage');
      expect(await refusal(disk.readFile('g'))).toBe('storage');
      expect(await refusal(disk.open('no/such/directory', 'create'))).toBe('storage');
      expect(await disk.exists('g')).toBe(false);
    });

    test('a file opened for reading is not writable', async () => {
      await put('f', 'x');
      const file = await disk.open('f', 'read');
      expect(await refusal(file.write(Buffer.from('y'), 0))).toBe('storage');
      expect(await refusal(file.writeDurably(Buffer.from('y'), 0))).toBe('storage');
      await file.close();
      expect((await disk.readFile('f')).toString()).toBe('x');
    });

    test('a rename replaces its target; open files follow', async () => {
      await put('old', 'old');
      const file = await disk.open('new', 'create');
      await disk.rename({ from: 'new', to: 'old' });
      await file.write(Buffer.from('new'), 0);
      await file.close();
      expect((await disk.readFile('old')).toString()).toBe('new');
      expect(await disk.list('')).toEqual(['old']);
      expect(await refusal(disk.rename({ from: 'absent', to: 'x' }))).toBe('storage');
    });

    test('a file or a tree is removed; what is absent needs no removing', async () => {
      await disk.makeDirectory('t/u');
      await put('t/u/f', '1');
      await put('t2', '2');
      await disk.remove('t');
      expect(await disk.list('')).toEqual(['t2']);
      await disk.remove('t');
      await disk.remove('t2');
      expect(await disk.list('')).toEqual([]);
    });

    test('a closed file refuses', async () => {
      const file = await disk.open('f', 'create');
      await file.close();
      expect(await refusal(file.write(Buffer.from('x'), 0))).toBe('storage');
    });

    test('space is known', async () => {
      const { freeBytes, totalBytes } = await disk.space();
      expect(freeBytes).toBeGreaterThan(0);
      expect(totalBytes).toBeGreaterThanOrEqual(freeBytes);
    });
  });
}
