import { describe, expect, test } from 'vitest';
import type { Entry } from '../../src/core/raft/messages.ts';
import { StateMachine } from '../../src/core/state-machine.ts';
import type { Clock, LogRecord, LogStore, Transport } from '../../src/member/ports.ts';
import { ReadyLoop } from '../../src/member/ready-loop.ts';
import type { Replica } from '../../src/member/replica.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';
import { eventually } from './test-cluster.ts';

/** A log whose writes end when they are told to. */
class SlowLog implements LogStore {
  readonly lastSeq = 0;
  readonly sizeBytes = 0;
  readonly writes: { readonly record: LogRecord; readonly end: () => void }[] = [];

  append(record: LogRecord): Promise<void> {
    return new Promise((resolve) => void this.writes.push({ record, end: resolve }));
  }
  async release(): Promise<void> {}
  async close(): Promise<void> {}
}

/** Time passes with every look at it. */
class CountingClock implements Clock {
  #nowMs = 0;
  readonly #stepMs: number;

  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }
  nowMs(): number {
    this.#nowMs += this.#stepMs;
    return this.#nowMs;
  }
  uptimeMs(): number {
    return this.#nowMs;
  }
  setTimer(): { cancel(): void } {
    return { cancel: () => {} };
  }
  setImmediate(callback: () => void): void {
    setImmediate(callback);
  }
}

function fixture(options: { readonly log: LogStore; readonly clock: Clock }) {
  const raft = new TestNode([1, 2, 3]);
  const machine = new StateMachine({
    source: { row: () => undefined },
    cacheBytesMax: 0,
    bootstrapMembers: [1, 2, 3].map((id) => ({
      id,
      name: '',
      peerUrls: [`http://n${id}:1`],
      clientUrls: [],
    })),
  });
  const marker = { ...machine.marker(), appliedIndex: 1, appliedTerm: 1 };
  for (const row of machine.tableRows()) machine.table(row);
  machine.finish(marker);
  let goOn = (): void => {};
  /** What waits for the disk, until it has caught up. */
  const queue = {
    apply: () => {},
    pendingBytes: 0,
    drained: (): Promise<void> =>
      new Promise((resolve) => {
        goOn = resolve;
      }),
  };
  const store = queue as unknown as Replica['store'];
  const slices: number[] = [];
  const loop = new ReadyLoop({
    node: raft.node,
    replica: { machine, store },
    log: options.log,
    transport: { send: () => {} } as unknown as Transport,
    clock: options.clock,
    tickMs: 100,
    listener: {
      beforeReady: () => {},
      applied: () => {},
      appliedTo: (_index, slice) => slices.push(slice.entries),
      readState: () => {},
      snapshotWanted: () => {},
      stateNameOf: () => 'state-2',
      restore: () => ({ machine, store }),
      roleChanged: () => {},
      membershipChanged: () => {},
      logWritten: () => {},
      fatal: (error) => {
        throw error;
      },
    },
  });
  /** The leader appends so many entries, and says how far they are committed. */
  const append = (count: number, commit: number): void => {
    const prevIndex = raft.node.status().lastIndex;
    const entries = Array.from(
      { length: count },
      (_, i): Entry => ({
        index: prevIndex + 1 + i,
        term: 2,
        kind: 'normal',
        data: Buffer.alloc(0),
      }),
    );
    const prevTerm = raft.node.termAt(prevIndex) ?? 0;
    loop.run(() =>
      raft.node.step({ type: 'append', from: 2, to: 1, term: 2, prevIndex, prevTerm, entries, commit }),
    );
  };
  const catchUp = (): void => {
    queue.pendingBytes = 0;
    goOn();
  };
  return { loop, raft, append, slices, machine, queue, catchUp };
}

describe('runSettled', () => {
  test('waits for the write that what it led to is in, not for a pause in the load', async () => {
    const log = new SlowLog();
    const { loop, append } = fixture({ log, clock: new CountingClock(0) });
    append(1, 0);
    await eventually(() => log.writes.length === 1);
    let isSettled = false;
    void loop
      .runSettled(() => {})
      .then(() => {
        isSettled = true;
      });
    append(1, 0);
    await turn();
    // The write in flight began before; the next holds it, and must be whole.
    log.writes[0]!.end();
    await eventually(() => log.writes.length === 2);
    append(1, 0);
    await turn();
    expect(isSettled).toBe(false);
    log.writes[1]!.end();
    await eventually(() => log.writes.length === 3);
    expect(isSettled).toBe(true);
  });

  test('does not wait when there is nothing to write', async () => {
    const { loop } = fixture({ log: new SlowLog(), clock: new CountingClock(0) });
    await loop.runSettled(() => {});
  });
});

describe('applying', () => {
  test('gives others their turn when its time is up, and goes on where it stopped', async () => {
    const log = new SlowLog();
    const { append, slices, machine } = fixture({ log, clock: new CountingClock(6) });
    append(100, 101);
    await eventually(() => log.writes.length === 1);
    log.writes[0]!.end();
    await eventually(() => machine.appliedIndex === 101);
    expect(Math.max(...slices)).toBeLessThan(100);
    expect(slices.reduce((sum, entries) => sum + entries, 0)).toBe(100);
  });

  test('pauses while more than 8 MiB of state wait for the disk', async () => {
    const log = new SlowLog();
    const { append, machine, queue, catchUp } = fixture({ log, clock: new CountingClock(6) });
    const written = async (count: number, commit: number): Promise<void> => {
      append(count, commit);
      await eventually(() => log.writes.length > 0);
      log.writes.shift()!.end();
    };
    queue.pendingBytes = 8 * 1024 * 1024;
    await written(100, 101);
    await eventually(() => machine.appliedIndex === 101);
    queue.pendingBytes += 1;
    await written(100, 201);
    await eventually(() => machine.appliedIndex > 101);
    const pausedAt = machine.appliedIndex;
    for (let i = 0; i < 10; i++) await turn();
    expect(machine.appliedIndex).toBe(pausedAt);
    expect(pausedAt).toBeLessThan(201);
    catchUp();
    await eventually(() => machine.appliedIndex === 201);
  });

  test('takes many entries in one go while time allows', async () => {
    const log = new SlowLog();
    const { append, slices, machine } = fixture({ log, clock: new CountingClock(0) });
    append(1_000, 1_001);
    await eventually(() => log.writes.length === 1);
    log.writes[0]!.end();
    await eventually(() => machine.appliedIndex === 1_001);
    expect(slices).toEqual([1_000]);
  });
});

describe('a stall', () => {
  /** A follower one tick away from an election, of a leader whose heartbeats have come until now. */
  async function lastTick() {
    const clock = new ManualClock();
    const { loop, raft } = fixture({ log: new SlowLog(), clock });
    const heartbeat = (): void =>
      loop.run(() => raft.node.step({ type: 'heartbeat', from: 2, to: 1, term: 1, commit: 1, readSeq: 0 }));
    loop.start(() => {});
    heartbeat();
    await turn();
    for (let ticks = 1; ticks < 10; ticks++) {
      clock.advance(100);
      await turn();
      await turn();
    }
    expect(loop.view.role).toBe('follower');
    return { clock, loop, heartbeat };
  }

  test('lets no timer begin an election before the messages that waited were taken', async () => {
    const { clock, loop, heartbeat } = await lastTick();
    // The event loop stood still for long: the timer is called first, then what lies in the sockets is read.
    clock.advance(60_000);
    heartbeat();
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(loop.view).toMatchObject({ role: 'follower', leader: 2 });
  });

  test('is one tick, however long it was, and an election begins when nobody was heard', async () => {
    const { clock, loop, heartbeat } = await lastTick();
    heartbeat();
    await turn();
    clock.advance(60_000);
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(loop.view.role).toBe('follower');
    for (let ticks = 1; ticks < 10; ticks++) {
      clock.advance(100);
      await turn();
      await turn();
    }
    expect(loop.view.role).toBe('pre-candidate');
  });
});

/** Every turn of the loop that is due now has run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
