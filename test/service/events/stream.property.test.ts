import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { effectiveOf, environmentsOf } from '../../../src/service/environments/inheritance.ts';
import type { EventFilter } from '../../../src/service/events/event-filter.ts';
import type { EventLimits } from '../../../src/service/events/event-hub.ts';
import type { Json } from '../../../src/service/model.ts';
import { openService, type Service } from '../../../src/service/service.ts';
import { ServiceError } from '../../../src/service/service-error.ts';
import { ada, KEYRING, named, TestClock } from '../world.ts';
import { Gate } from './gated-kv.ts';
import { Reader } from './reader.ts';

/**
 * Random changes by one server, and readers on another one that is held up, restarted and overtaken by compaction. What
 * they are told is compared with what holds in every environment before and after each change.
 */

const TENANT = 'default';
const CUSTOM = ['qa'];
const ENVIRONMENTS = ['development', 'production', ...CUSTOM];
const APPLICATIONS = ['pay', 'ship'];
const KEYS = ['a', 'b'];

type Place = { readonly environment: string; readonly application: string; readonly key: string };
type Step =
  | { readonly type: 'put'; readonly at: Place; readonly json: Json; readonly ttl: boolean }
  | { readonly type: 'secret' | 'delete' | 'undelete' | 'describe' | 'reveal'; readonly at: Place }
  | { readonly type: 'rollback'; readonly at: Place; readonly version: number }
  | { readonly type: 'many'; readonly at: readonly Place[]; readonly json: Json }
  | { readonly type: 'environment'; readonly id: string; readonly parent: string | null }
  | { readonly type: 'remove-environment'; readonly id: string }
  | {
      readonly type: 'defaults';
      readonly application: string;
      readonly defaults: { readonly [key: string]: number };
    }
  | { readonly type: 'remove-application'; readonly application: string }
  | { readonly type: 'expire' | 'pass' | 'seal' | 'compact' | 'shut' | 'open' | 'restart' }
  | { readonly type: 'read'; readonly filter: Omit<EventFilter, 'tenant'>; readonly back: number }
  | { readonly type: 'resume' }
  /** The server stays behind a compaction that comes after these. */
  | { readonly type: 'overtake'; readonly at: readonly Place[]; readonly json: Json };

const environment = fc.constantFrom(...ENVIRONMENTS);
const application = fc.constantFrom(...APPLICATIONS);
const at: fc.Arbitrary<Place> = fc.record({ environment, application, key: fc.constantFrom(...KEYS) });
const json = fc.integer({ min: 0, max: 5 });
const only = <T extends string>(...types: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...types);

const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ type: only('put'), at, json, ttl: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({ type: only('secret', 'delete', 'undelete', 'describe', 'reveal'), at }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: only('rollback'), at, version: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ type: only('many'), at: fc.uniqueArray(at, { maxLength: 6 }), json }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: only('environment'), id: environment, parent: fc.option(environment) }),
  },
  { weight: 2, arbitrary: fc.record({ type: only('remove-environment'), id: fc.constantFrom(...CUSTOM) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: only('defaults'),
      application,
      defaults: fc.dictionary(fc.constantFrom(...KEYS), json, { noNullPrototype: true }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: only('remove-application'), application }) },
  {
    weight: 8,
    arbitrary: fc.record({ type: only('expire', 'pass', 'seal', 'compact', 'shut', 'open', 'restart') }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: only('read'),
      filter: fc.record(
        { environment, application, keys: fc.subarray(KEYS, { minLength: 1 }), keyPrefix: only('a', 'b') },
        { requiredKeys: [] },
      ),
      back: fc.nat(12),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: only('resume') }) },
  { weight: 3, arbitrary: fc.record({ type: only('overtake'), at: fc.array(at, { maxLength: 3 }), json }) },
) as fc.Arbitrary<Step>;

/** From those with which nearly everything is read from the records, to those with which it is all in memory. */
const limits: fc.Arbitrary<EventLimits> = fc.record({
  logEvents: fc.constantFrom(1, 5, 1_000),
  warmChanges: fc.constantFrom(0, 3, 1_000),
  bufferedEvents: fc.constantFrom(1, 5, 256),
});

/** What holds, by environment, application and key. */
type Snapshot = ReadonlyMap<string, { readonly place: Place; readonly source: string; readonly json: Json }>;

interface Expected {
  readonly revision: number;
  readonly place: Place;
  readonly before: Json;
  readonly after: Json;
}

/** A cursor's stream, over all the times that it was taken up again. */
interface Reading {
  readonly filter: EventFilter;
  readonly from: number;
  readonly told: Reader[];
  reader: Reader;
}

class Trial {
  readonly #memory = new MemoryKv();
  readonly #clock = new TestClock();
  readonly #gate: Gate;
  readonly #expected: Expected[] = [];
  readonly #limits: EventLimits;
  #writer!: Service;
  #server!: Service;
  #snapshot: Snapshot = new Map();
  #revision = 0;
  readonly #readings: Reading[] = [];

  constructor(limits: EventLimits, turns: number) {
    this.#limits = limits;
    this.#gate = new Gate(turns);
  }

  async open(): Promise<void> {
    this.#writer = await this.#openService(false);
    this.#server = await this.#openService(true);
    await this.#read({ tenant: TENANT }, undefined);
  }

  async run(next: Step): Promise<void> {
    try {
      await this.#perform(next);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
    }
    await this.#note();
  }

  async check(): Promise<void> {
    this.#gate.open();
    await this.#read({ tenant: TENANT }, 0);
    for (const { filter, from, told, reader } of this.#readings) {
      await reader.reach(this.#revision);
      const events = [...told, reader].flatMap((each) => each.events);
      const revisions = [...told, reader].flatMap((each) => each.revisions);
      expect(revisions).toEqual([...new Set(revisions)].sort((left, right) => left - right));
      expect(events.map(toldOf).sort()).toEqual(
        this.#expected
          .filter((each) => each.revision > from && isWanted(filter, each.place))
          .map(textOf)
          .sort(),
      );
      expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    }
  }

  async close(): Promise<void> {
    this.#gate.open();
    for (const { reader } of this.#readings) await reader.close();
    await this.#writer.close();
    await this.#server.close();
  }

  async #openService(isGated: boolean): Promise<Service> {
    return openService({
      kv: isGated ? this.#gate.before(this.#memory) : this.#memory,
      clock: this.#clock,
      logger: silentLogger,
      keyring: KEYRING,
      sweeps: false,
      eventLimits: this.#limits,
      signal: ada.signal,
    });
  }

  async #perform(next: Step): Promise<void> {
    const { configurations, history, environments, applications, reads, sealer, sweepers } = this.#writer;
    switch (next.type) {
      case 'put':
        await configurations.put(ada, {
          name: named('', next.at),
          value: { json: next.json },
          type: 'integer',
          ...(next.ttl ? { ttlSeconds: 60 } : {}),
        });
        return;
      case 'secret':
        await configurations.put(ada, {
          name: named('', next.at),
          value: { json: 's3cret' },
          type: 'secret',
        });
        return;
      case 'describe':
        await configurations.put(ada, { name: named('', next.at), description: String(this.#revision) });
        return;
      case 'delete':
      case 'undelete':
        await configurations[next.type](ada, { ref: named('', next.at) });
        return;
      case 'reveal':
        await reads.lookup(ada, { name: named('', next.at), reveal: true });
        return;
      case 'rollback':
        await history.rollback(ada, { ref: named('', next.at), version: next.version });
        return;
      case 'many':
        await configurations.bulk(ada, {
          tenant: TENANT,
          items: next.at.map((place) => ({
            action: 'put',
            ref: named('', place),
            value: { json: next.json },
            type: 'integer',
          })),
        });
        return;
      case 'environment': {
        const request = { tenant: TENANT, id: next.id, parent: next.parent };
        const isThere = environmentsOf(this.#writer.projection.state, TENANT).includes(next.id);
        await environments[isThere ? 'update' : 'create'](ada, request);
        return;
      }
      case 'remove-environment':
        await environments.delete(ada, { tenant: TENANT, id: next.id });
        return;
      case 'defaults': {
        const request = { tenant: TENANT, name: next.application, defaults: next.defaults };
        const isThere = this.#writer.projection.state.application(TENANT, next.application) !== undefined;
        await applications[isThere ? 'update' : 'create'](ada, request);
        return;
      }
      case 'remove-application':
        await applications.delete(ada, { tenant: TENANT, name: next.application });
        return;
      // What expires stands in the stream until it is swept, or made anew.
      case 'pass':
        this.#clock.advance(61_000);
        return;
      case 'expire':
        this.#clock.advance(61_000);
        await sweepers.sweepExpired();
        return;
      case 'seal':
        await sealer.seal(ada.signal);
        return;
      case 'compact':
        this.#compact();
        return;
      case 'shut':
        this.#gate.shut();
        return;
      case 'open':
        this.#gate.open();
        return;
      case 'restart':
        await this.#restart();
        return;
      case 'read': {
        this.#gate.open();
        await this.#read({ tenant: TENANT, ...next.filter }, Math.max(0, this.#revision - next.back));
        return;
      }
      case 'resume':
        this.#gate.open();
        for (const reading of this.#readings) await this.#resume(reading);
        return;
      case 'overtake':
        this.#gate.shut();
        for (const place of next.at) {
          await this.run({ type: 'put', at: place, json: next.json, ttl: false });
        }
        this.#compact();
        this.#gate.open();
    }
  }

  #compact(): void {
    const { revision } = this.#writer.projection;
    try {
      if (revision > 1) this.#memory.compact(revision);
    } catch {
      // Nothing was changed since the last time.
    }
  }

  async #restart(): Promise<void> {
    this.#gate.open();
    await this.#server.close();
    this.#server = await this.#openService(true);
    for (const reading of this.#readings) await this.#resume(reading);
  }

  /** Goes on from its own cursor. */
  async #resume(reading: Reading): Promise<void> {
    await reading.reader.close();
    const { position } = reading.reader;
    reading.told.push(reading.reader);
    reading.reader = await Reader.open(this.#server, reading.filter, position);
  }

  async #read(filter: EventFilter, after: number | undefined): Promise<void> {
    const reader = await Reader.open(this.#server, filter, after);
    this.#readings.push({ filter, from: after ?? this.#revision, told: [], reader });
  }

  /** What the last step changed. */
  async #note(): Promise<void> {
    const { projection } = this.#writer;
    await projection.catchUp(ada.signal);
    const after = snapshotOf(this.#writer);
    const before = this.#snapshot;
    const revision = projection.state.headRevision;
    for (const id of new Set([...before.keys(), ...after.keys()])) {
      const was = before.get(id);
      const is = after.get(id);
      if (was?.source === is?.source) continue;
      const { place } = (is ?? was)!;
      this.#expected.push({ revision, place, before: was?.json ?? null, after: is?.json ?? null });
    }
    this.#snapshot = after;
    this.#revision = revision;
  }
}

/** By the inheritance that reads go by; what has expired stands until it is swept. */
function snapshotOf({ projection: { state } }: Service): Snapshot {
  const found = new Map<string, { place: Place; source: string; json: Json }>();
  for (const environment of environmentsOf(state, TENANT)) {
    for (const application of APPLICATIONS) {
      for (const key of KEYS) {
        const place = { environment, application, key };
        const held = effectiveOf(state, { tenant: TENANT, ...place }, -Infinity);
        if (held === null) continue;
        const id = Object.values(place).join('/');
        if (held.source === 'default') {
          found.set(id, { place, source: `default ${JSON.stringify(held.json)}`, json: held.json });
        } else {
          const { value } = held.entry.read();
          const shown = value.type === 'secret' ? '********' : value.json;
          found.set(id, { place, source: `${held.entry.id} ${held.entry.version}`, json: shown });
        }
      }
    }
  }
  return found;
}

function textOf({ revision, place, before, after }: Expected): string {
  const { environment, application, key } = place;
  return JSON.stringify([revision, environment, application, key, before, after]);
}

function toldOf({ revision, name, oldValue, newValue }: Reader['events'][number]): string {
  return textOf({ revision, place: name, before: oldValue, after: newValue });
}

function isWanted(filter: EventFilter, { environment, application, key }: Place): boolean {
  return (
    (filter.environment === undefined || filter.environment === environment) &&
    (filter.application === undefined || filter.application === application) &&
    (filter.keys === undefined || filter.keys.includes(key)) &&
    (filter.keyPrefix === undefined || key.startsWith(filter.keyPrefix))
  );
}

describe('the stream of events', () => {
  test('tells every change of what holds in every environment, each once, in order, from any cursor', async () => {
    await fc.assert(
      fc.asyncProperty(
        limits,
        fc.nat(30),
        fc.array(step, { minLength: 5, maxLength: 40 }),
        async (each, turns, steps) => {
          const trial = new Trial(each, turns);
          await trial.open();
          try {
            for (const next of steps) await trial.run(next);
            await trial.check();
          } finally {
            await trial.close();
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
