import { expect, test } from 'vitest';
import type { Operation } from '../../src/core/command.ts';
import { deleteRequest, type PutRequest, type RequestOp } from '../../src/core/mvcc/operations.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { FREE_BYTES_MIN, SpaceGuard } from '../../src/member/space-guard.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { MachineHarness } from '../core/machine-fixture.ts';
import { ManualClock } from './manual-clock.ts';
import { eventually, get, put, txn } from './test-cluster.ts';

function guardOf({ quotaBytes = 1_000, freeBytes = FREE_BYTES_MIN } = {}) {
  const clock = new ManualClock();
  const harness = new MachineHarness();
  const raised: Operation[] = [];
  const disk = new MemoryDisk();
  let free = freeBytes;
  disk.space = async () => ({ freeBytes: free, totalBytes: 2 * FREE_BYTES_MIN });
  const guard = new SpaceGuard({
    self: 1,
    clock,
    disk,
    logger: silentLogger,
    quotaBytes,
    freeBytesMin: FREE_BYTES_MIN,
    machine: () => harness.machine,
    propose: async (operation) => {
      raised.push(operation);
      harness.ok(operation);
    },
  });
  const admitted = (request: RequestOp): string => {
    try {
      guard.admit(request);
      return 'ok';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const setFree = (bytes: number): void => {
    free = bytes;
  };
  return { clock, harness, guard, raised, admitted, setFree };
}

test('deletes that are all that is left count for nothing, once nothing else is', () => {
  const { harness, admitted } = guardOf({ quotaBytes: 140 });
  harness.ok(put('k1', ''));
  harness.ok(put('k2', ''));
  harness.ok({ ...deleteRequest({ key: Buffer.from('k1') }), rangeEnd: Buffer.from('k9') });
  const { store } = harness.machine;
  expect(admitted(put('k', ''))).toBe('no-space');
  harness.ok({ type: 'compact', revision: store.currentRevision });
  expect(admitted(put('k', ''))).toBe('no-space');
  while (store.compactionPending) store.compactionStep(10);
  expect(store.logicalBytes).toBe(132);
  expect(admitted(put('k', 'x'.repeat(75)))).toBe('ok');
  expect(admitted(put('k', 'x'.repeat(76)))).toBe('no-space');
  harness.ok({ type: 'alarm', action: 'deactivate', member: 1, alarm: 'no-space' });
  harness.ok(put('k', ''));
  expect(admitted(put('l', ''))).toBe('no-space');
});

test('the quota counts keys, values and 64 bytes a row, of the larger half of a transaction', () => {
  const { harness, raised, admitted } = guardOf();
  const ofBytes = (bytes: number): PutRequest => put('k', 'x'.repeat(bytes - 65));
  expect(admitted(ofBytes(1_000))).toBe('ok');
  expect(raised).toEqual([]);
  harness.ok(ofBytes(400));
  expect(admitted(ofBytes(600))).toBe('ok');
  expect(admitted(txn(ofBytes(300), ofBytes(300)))).toBe('ok');
  expect(admitted({ ...txn(ofBytes(300)), failure: [ofBytes(600)] })).toBe('ok');
  expect(admitted(get('k'))).toBe('ok');
  expect(raised).toEqual([]);
  expect(admitted({ ...txn(ofBytes(300)), failure: [ofBytes(601)] })).toBe('no-space');
  expect(admitted(ofBytes(601))).toBe('no-space');
  // Told once.
  expect(raised).toEqual([{ type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' }]);
});

test('less than 256 MiB of free disk raise the alarm before the disk is full', async () => {
  expect(FREE_BYTES_MIN).toBe(256 * 1024 * 1024);
  const { clock, guard, raised, setFree } = guardOf();
  guard.tick();
  await new Promise<void>((resolve) => setImmediate(resolve));
  expect(raised).toEqual([]);
  setFree(FREE_BYTES_MIN - 1);
  clock.advance(10_000);
  guard.tick();
  await eventually(() => raised.length === 1);
  expect(raised).toEqual([{ type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' }]);
});
