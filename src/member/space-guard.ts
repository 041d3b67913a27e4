import type { Operation } from '../core/command.ts';
import type { RequestOp } from '../core/mvcc/operations.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { StateMachine } from '../core/state-machine.ts';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Clock, Disk } from './ports.ts';

/** How often the disk's free space is looked at. */
const CHECK_INTERVAL_MS = 10_000;
/** Free space below which the member raises NOSPACE for the whole cluster, before the disk itself is full. */
export const FREE_BYTES_MIN = 256 * 1024 * 1024;
/** What a row costs beside its key and value, for the quota. */
const ROW_OVERHEAD_BYTES = 64;

export interface SpaceGuardOptions {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly logger: Logger;
  /** Logical bytes of history that the store may hold. */
  readonly quotaBytes: number;
  readonly freeBytesMin: number;
  readonly machine: () => StateMachine;
  readonly propose: (operation: Operation) => Promise<unknown>;
}

/**
 * Keeps the store from outgrowing its quota or its disk. The decision to refuse writes is replicated, as the
 * NOSPACE alarm, so that every member refuses the same requests; what raises it is measured here.
 */
export class SpaceGuard {
  readonly #options: SpaceGuardOptions;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #raising = false;

  constructor(options: SpaceGuardOptions) {
    this.#options = options;
  }

  /**
   * To be called before a request is proposed.
   *
   * @throws StoreError `no-space` when it would exceed the quota; the alarm is raised then
   */
  admit(request: RequestOp): void {
    const { machine, quotaBytes } = this.#options;
    if (bytesHeld(machine().store) + bytesAdded(request) <= quotaBytes) return;
    this.#raise('the store has reached its quota');
    throw new StoreError('no-space');
  }

  tick(): void {
    const { clock, disk, freeBytesMin } = this.#options;
    if (clock.nowMs() - this.#checkedMs < CHECK_INTERVAL_MS) return;
    this.#checkedMs = clock.nowMs();
    disk.space().then(
      ({ freeBytes }) => {
        if (freeBytes < freeBytesMin) this.#raise('the disk is nearly full');
      },
      (error: unknown) => this.#options.logger.warn({ err: error }, 'free disk space is unknown'),
    );
  }

  #raise(reason: string): void {
    const { self, logger, machine, propose } = this.#options;
    const raised = machine()
      .alarms.list()
      .some((alarm) => alarm.member === self && alarm.alarm === 'no-space');
    if (this.#raising || raised) return;
    this.#raising = true;
    logger.warn({ reason }, 'raising the NOSPACE alarm');
    const settled = (): void => {
      this.#raising = false;
    };
    propose({ type: 'alarm', action: 'activate', member: self, alarm: 'no-space' }).then(settled, settled);
  }
}

/**
 * What the quota has to bear. A compaction keeps the deletes of its own revision, as etcd's; where they are all that is
 * left, they count for nothing: were they to fill the quota, no revision could come after them and none be compacted.
 */
function bytesHeld(store: StateMachine['store']): number {
  const { keyCount, currentRevision, hashCompactRevision, logicalBytes } = store;
  return keyCount === 0 && hashCompactRevision === currentRevision ? 0 : logicalBytes;
}

function bytesAdded(op: RequestOp): number {
  switch (op.type) {
    case 'put':
      return op.key.length + op.value.length + ROW_OVERHEAD_BYTES;
    case 'txn':
      return Math.max(sum(op.success), sum(op.failure));
    case 'range':
    case 'delete-range':
      return 0;
  }
}

function sum(ops: readonly RequestOp[]): number {
  return ops.reduce((bytes, op) => bytes + bytesAdded(op), 0);
}
