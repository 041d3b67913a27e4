import { setMaxListeners } from 'node:events';
import type { Kv } from '../../src/kv/kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { Caller } from '../../src/service/caller.ts';
import type { EventLimits } from '../../src/service/events/event-hub.ts';
import type { ConfigurationName, Json, Scope } from '../../src/service/model.ts';
import { Keyring } from '../../src/service/secrets/keyring.ts';
import { openService, type Service } from '../../src/service/service.ts';
import type { Retention } from '../../src/service/sweepers/retention.ts';

/** A clock that tests move. */
export class TestClock {
  ms = Date.parse('2026-03-01T00:00:00.000Z');

  nowMs(): number {
    return this.ms;
  }

  advance(ms: number): void {
    this.ms += ms;
  }
}

/** A service on a store in memory. */
export interface World {
  readonly memory: MemoryKv;
  readonly clock: TestClock;
  readonly service: Service;
}

export const KEYRING: Keyring = Keyring.parse(`k1:${Buffer.alloc(32, 7).toString('base64')}`);

export interface WorldOptions {
  readonly memory?: MemoryKv;
  readonly clock?: TestClock;
  readonly keyring?: Keyring | null;
  readonly retention?: Retention;
  readonly eventLimits?: EventLimits;
  readonly instancesOf?: (scope: Scope) => readonly string[];
  /** Stands between the service and the store. */
  readonly wrap?: (kv: Kv) => Kv;
}

/** Opens a service, runs, and closes it whatever happens. */
export async function inWorld<T>(run: (world: World) => Promise<T>, options: WorldOptions = {}): Promise<T> {
  const memory = options.memory ?? new MemoryKv();
  const clock = options.clock ?? new TestClock();
  const kv = options.wrap?.(memory) ?? memory;
  const service = await openService({
    kv,
    clock,
    logger: silentLogger,
    keyring: options.keyring === undefined ? KEYRING : options.keyring,
    ...(options.retention === undefined ? {} : { retention: options.retention }),
    instancesOf: options.instancesOf,
    eventLimits: options.eventLimits,
    sweeps: false,
    signal: new AbortController().signal,
  });
  try {
    return await run({ memory, clock, service });
  } finally {
    await service.close();
  }
}

export function callerOf(name: string): Caller {
  const { signal } = new AbortController();
  // Tests make many calls at once for one caller.
  setMaxListeners(0, signal);
  return {
    actor: { name, isAuthenticated: false, claimed: null, address: '127.0.0.1', agent: null },
    principal: { type: 'anonymous' },
    signal,
  };
}

export const ada: Caller = callerOf('ada');

/** `pay`'s configuration in production, or wherever it is said. */
export function named(key: string, rest: Partial<ConfigurationName> = {}): ConfigurationName {
  return { tenant: 'default', environment: 'production', application: 'pay', key, ...rest };
}

/** What a plain client finds at a key, or null. */
export async function plainValue(memory: MemoryKv, key: string): Promise<Json | null> {
  const answer = await memory.range(
    { key: Buffer.from(key), consistency: { type: 'linearizable' } },
    { principal: { type: 'anonymous' }, signal: new AbortController().signal },
  );
  const [row] = answer.rows;
  return row === undefined ? null : (JSON.parse(row.value.toString()) as Json);
}
