import { deleteRequest } from '../../src/core/mvcc/operations.ts';
import { LOG_DIRECTORY } from '../../src/member/storage/data-dir.ts';
import { OPERATOR } from './auth-operator.ts';
import { pause } from './client.ts';
import { HopelessTransfer } from './hopeless-transfer.ts';
import { LateAnswers } from './late-answers.ts';
import { MemberOperators } from './member-operators.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import { OldCopy } from './old-copy.ts';
import type { Place } from './place.ts';
import type { FaultKind } from './plan.ts';
import type { PauseKind } from './process.ts';
import { RegionFaults } from './region-faults.ts';
import { removedRows, rotRows } from './rotten-rows.ts';
import { Standoff } from './standoff.ts';

/** An operator's request is given up after this. */
const REQUEST_MS = 3_000;

/** Does to a cluster what the plan says, at random moments, until it is stopped. */
export class Nemesis {
  /** How often each fault was done. */
  readonly counts = new Map<FaultKind, number>();
  readonly #parts: NemesisParts;
  readonly #standoff: Standoff;
  readonly #lateAnswers: LateAnswers;
  readonly #hopelessTransfer: HopelessTransfer;
  readonly #operators: MemberOperators;
  readonly #oldCopy: OldCopy;
  readonly #regions: RegionFaults;
  #stopped = false;
  readonly #copies = new Map<
    Place,
    { readonly restore: () => Promise<void>; readonly starts: number; readonly after: number }
  >();

  constructor(parts: NemesisParts) {
    this.#parts = parts;
    this.#standoff = new Standoff(parts);
    this.#lateAnswers = new LateAnswers(parts);
    this.#hopelessTransfer = new HopelessTransfer(parts);
    this.#operators = new MemberOperators(parts);
    this.#regions = new RegionFaults(parts);
    this.#oldCopy = new OldCopy(parts, (place) => this.#mayLose(place) && this.#canLose(place));
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  set stopped(stopped: boolean) {
    this.#stopped = stopped;
    this.#standoff.stopped = stopped;
    this.#lateAnswers.stopped = stopped;
    this.#hopelessTransfer.stopped = stopped;
    this.#operators.stopped = stopped;
    this.#oldCopy.stopped = stopped;
    this.#regions.stopped = stopped;
  }

  async run(): Promise<void> {
    const { scheduler, random, plan } = this.#parts;
    while (!this.stopped && plan.faults.length > 0) {
      await pause(scheduler, -Math.log(1 - random.fraction()) * plan.faultPauseMs);
      if (this.stopped) return;
      const kind = random.weighted(plan.faults);
      if (kind === null) return;
      if (this.#do(kind)) this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    }
  }

  /** Undoes everything that can be undone. */
  heal(): void {
    const { network, cluster, trace } = this.#parts;
    trace.line('faults', 'everything is healed');
    network.heal();
    for (const place of cluster.places) {
      place.stalledUntilMs = 0;
      place.slowFactor = 1;
      place.disk.capacityBytes = 2 ** 40;
      place.process?.resume('stopped');
    }
  }

  /** @returns whether it was done; the rest of it may follow */
  #do(kind: FaultKind): boolean {
    const { cluster, random } = this.#parts;
    const place = random.pick(cluster.places);
    switch (kind) {
      case 'kill':
      case 'power-loss':
        return this.#atSomePoint(place, () => this.#kill(place, kind === 'power-loss'));
      case 'power-loss-all':
        if (cluster.someLost()) return false;
        return this.#atSomePoint(cluster.leader() ?? place, () => {
          for (const each of cluster.places) if (each.running) cluster.kill(each, true);
        });
      case 'graceful-stop':
        if (place.member === null || place.process?.paused === true) return false;
        place.stopGracefully(random.chance(50));
        return true;
      case 'pause':
        return this.#pause(place);
      case 'suspend':
        return this.#pause(place, 'suspended');
      case 'freeze':
        return this.#pause(place, 'frozen');
      case 'region-cut':
      case 'region-crawl':
      case 'region-loss':
        return this.#regions.begin(kind);
      case 'partition':
      case 'one-way':
      case 'partial':
      case 'isolate-leader':
      case 'swizzle':
        return this.#cut(kind);
      case 'standoff':
        return this.#standoff.begin();
      case 'late-answers':
        return this.#lateAnswers.begin();
      case 'hopeless-transfer':
        return this.#hopelessTransfer.begin();
      case 'old-copy':
        return this.#oldCopy.begin();
      case 'slow-disk':
        place.slowFactor = random.pick([10, 100, 1_000]);
        // Thirty election timeouts without an answer of the disk end a member.
        place.storageFaulty = true;
        this.#later(random.between(100, 5_000), () => {
          place.slowFactor = 1;
        });
        return true;
      case 'stalled-disk':
        place.stalledUntilMs = this.#parts.scheduler.nowMs + random.between(50, 6_000);
        place.storageFaulty = true;
        return true;
      case 'fsync-error':
      case 'disk-full':
      case 'level-error':
        return this.#spoilStorage(place, kind);
      case 'wipe':
      case 'roll-back':
      case 'bit-rot':
      case 'row-rot':
        return this.#lose(place, kind);
      case 'read-error':
        return this.#failToRead(place);
      case 'move-leader':
      case 'compact':
      case 'defragment':
      case 'quota':
        return this.#operate(place, kind);
      case 'add-member':
      case 'remove-member':
      case 'replace-member':
        return this.#operators.begin(kind);
      case 'move-member':
        return this.#move(place);
    }
  }

  #kill(place: Place, powerLoss: boolean): void {
    if (place.running && !this.stopped) this.#parts.cluster.kill(place, powerLoss);
  }

  /** Now, or within one of the next disk operations of a place: before it, in the midst of it, or just after. */
  #atSomePoint(place: Place, crash: () => void): boolean {
    const { random, scheduler, plan } = this.#parts;
    if (!place.running) return false;
    if (random.chance(40)) {
      crash();
      return true;
    }
    place.atDiskOperation(random.between(1, random.pick([1, 10, 60])), () => {
      const delayMs = random.fraction() * 2 * plan.pace.latencyMsMax;
      scheduler.schedule(delayMs, {
        owner: null,
        kind: 'fault',
        run: () => {
          if (!this.stopped) crash();
        },
      });
    });
    return true;
  }

  #pause(place: Place, only?: PauseKind): boolean {
    const { random, trace } = this.#parts;
    const { process } = place;
    if (process === null || process.paused) return false;
    const kind = only ?? random.pick(['stopped', 'stopped', 'suspended'] as const);
    const forMs = random.pick([20, 300, 1_500, 5_000]) * (0.5 + random.fraction());
    trace.line(place.name, `is paused (${kind}) for ${forMs.toFixed(0)} ms`);
    process.pause();
    this.#later(forMs, () => process.resume(kind));
    return true;
  }

  // ---- network ----------------------------------------------------------------------------------------------

  #cut(kind: FaultKind): boolean {
    const { network, random, cluster, trace } = this.#parts;
    const names = random.shuffle(cluster.places.map((place) => place.name));
    const cuts: [string, string][] = [];
    const [first, second] = names;
    if (first === undefined || second === undefined) return false;
    const leader = cluster.leader()?.name ?? first;
    const others = names.filter((name) => name !== leader);
    if (kind === 'swizzle') return this.#swizzle(names);
    if (kind === 'partition') {
      const side = names.slice(0, random.between(1, names.length - 1));
      for (const a of side) for (const b of names) if (!side.includes(b)) cuts.push([a, b], [b, a]);
    } else if (kind === 'one-way') {
      const side = names.slice(0, random.between(1, names.length - 1));
      for (const a of side) for (const b of names) if (!side.includes(b)) cuts.push([a, b]);
    } else if (kind === 'partial') {
      cuts.push([first, second], [second, first]);
    } else {
      const way = random.integer(3);
      for (const other of others) {
        if (way !== 0) cuts.push([leader, other]);
        if (way !== 1) cuts.push([other, leader]);
      }
    }
    trace.line('faults', `cuts ${cuts.map(([a, b]) => `${a}>${b}`).join(' ')}`);
    for (const [a, b] of cuts) network.cut(a, b);
    this.#later(random.between(50, 6_000), () => {
      trace.line('faults', 'the network is whole');
      network.heal();
    });
    return true;
  }

  /** Slows links down one after the other, and frees them in another order. */
  #swizzle(names: readonly string[]): boolean {
    const { network, random } = this.#parts;
    for (const from of names) {
      for (const to of names) {
        if (from === to || random.chance(50)) continue;
        const extraMs = random.between(20, 1_500);
        this.#later(random.between(0, 1_000), () => network.clog(from, to, extraMs));
        this.#later(random.between(1_000, 4_000), () => network.clog(from, to, 0));
      }
    }
    return true;
  }

  // ---- storage ----------------------------------------------------------------------------------------------

  #spoilStorage(place: Place, kind: FaultKind): boolean {
    const { cluster, random, trace } = this.#parts;
    if (place.member === null || cluster.someLost()) return false;
    place.storageFaulty = true;
    place.tailUncertain = true;
    trace.line(place.name, `gets a ${kind}`);
    if (kind === 'fsync-error') {
      place.disk.failNext(
        random.pick(['datasync', 'datasync', 'write', 'rename', 'sync-directory'] as const),
      );
    } else if (kind === 'level-error') {
      const state = place.newestState();
      const fault = random.pick(['no-space', 'sync-error', 'flush-error', 'read-error'] as const);
      if (state !== undefined) place.levels.inject(state, fault);
    } else {
      void place.disk.space().then(({ freeBytes, totalBytes }) => {
        // A stalled disk may answer only when everything is over.
        if (!this.stopped) place.disk.capacityBytes = totalBytes - freeBytes + random.integer(20_000);
      });
      this.#later(random.between(500, 4_000), () => {
        place.disk.capacityBytes = 2 ** 40;
      });
    }
    return true;
  }

  /** Something fails that only starts do, or mostly: so it is started. */
  #failToRead(place: Place): boolean {
    const { cluster, random, trace } = this.#parts;
    if (place.member === null || cluster.someLost()) return false;
    const operation = random.pick(['read', 'read', 'open', 'list', 'exists', 'remove', 'truncate'] as const);
    trace.line(place.name, `will fail to ${operation}`);
    place.storageFaulty = true;
    place.disk.failNext(operation);
    if (random.chance(80)) cluster.kill(place, false);
    return true;
  }

  /** Faults after which a machine's data can never be trusted again; as many as the cluster can spare. */
  #lose(place: Place, kind: FaultKind): boolean {
    const { cluster } = this.#parts;
    if (!this.#mayLose(place)) return false;
    if (kind === 'roll-back') return this.#rollBack(place);
    // Only who was met can be told from a newcomer.
    if (place.member?.hasLeader() !== true) return false;
    if (!this.#canLose(place) || this.#parts.log.lastIndex < 10) return false;
    // Early on there are no removed rows yet, which might come back.
    if (kind === 'row-rot' && removedRows(place).length === 0 && this.#parts.random.chance(80)) return false;
    place.lost = true;
    cluster.kill(place, false);
    if (kind === 'wipe') {
      this.#parts.trace.line(place.name, 'gets an empty disk');
      place.wipe();
      place.wiped = true;
    } else {
      const rot = kind === 'row-rot' ? rotRows(this.#parts, place, () => this.stopped) : this.#rot(place);
      // A disk may fail before it rots.
      rot.catch((error: unknown) => {
        if (!place.storageFaulty) this.#parts.scheduler.fail(error);
      });
    }
    return true;
  }

  /** First a copy is made; two starts later it is put back. */
  #rollBack(place: Place): boolean {
    const { cluster, trace } = this.#parts;
    const copy = this.#copies.get(place);
    if (copy === undefined) {
      if (place.storageFaulty) return false;
      if (place.running) cluster.kill(place, false);
      const { starts } = place;
      const after = cluster.startCount;
      void place.copyData().then((restore) => this.#copies.set(place, { restore, starts, after }));
      return false;
    }
    const { process, member } = place;
    if (process === null || member === null || place.starts < copy.starts + 2) return false;
    if (!this.#canLose(place) || !member.hasLeader()) return false;
    const forgotten = { after: copy.after, upTo: cluster.startCount };
    // Who never met the newer data cannot know of it: two such members would be a majority that forgets.
    if (!cluster.allHaveMet(place, forgotten)) return false;
    trace.line(place.name, 'gets an old copy of its data');
    place.lost = true;
    place.forgotten = forgotten;
    cluster.kill(place, false);
    void copy.restore();
    return true;
  }

  #mayLose(place: Place): boolean {
    if (!this.#operators.areIdle || place.lost) return false;
    return this.#parts.cluster.memberOf(place) !== undefined && place.starts > 0;
  }

  #canLose(place: Place): boolean {
    const { cluster } = this.#parts;
    return (
      cluster.couldSpare({ lost: place }) &&
      cluster.core().every((each) => each.everStarted && !each.tailUncertain)
    );
  }

  async #rot(place: Place): Promise<void> {
    const { random, trace } = this.#parts;
    if (place.running) return;
    const files = (await place.disk.list(LOG_DIRECTORY)).map((name) => `${LOG_DIRECTORY}/${name}`);
    const path = random.pick([...files, 'IDENTITY', 'ACTIVE', 'PEERS']);
    if (!(await place.disk.exists(path))) return;
    const content = await place.disk.readFile(path);
    let used = content.length;
    while (used > 1 && content[used - 1] === 0) used -= 1;
    const bit = random.integer(8 * used);
    trace.line(place.name, `rots: bit ${bit} of ${path}`);
    place.disk.flipBit(path, bit);
  }

  // ---- operators --------------------------------------------------------------------------------------------

  #operate(place: Place, kind: FaultKind): boolean {
    const { cluster, port, random, log, history } = this.#parts;
    const leader = cluster.leader();
    if (kind === 'move-leader') {
      const target = random.pick(log.members)?.id;
      if (leader === undefined || target === undefined) return false;
      void port.call(leader, REQUEST_MS, (member, signal) =>
        member.moveLeader({ target }, { signal, credentials: OPERATOR }),
      );
    } else if (kind === 'defragment') {
      void port.call(place, REQUEST_MS, (member, signal) =>
        member.defragment({ signal, credentials: OPERATOR }),
      );
    } else if (kind === 'quota') {
      void this.recoverSpace(place);
    } else {
      const { revision } = log.model;
      history.call({ type: 'compact', revision });
      void port.call(place, REQUEST_MS, (member, signal) =>
        member.compact({ revision, physical: true }, { signal, credentials: OPERATOR }),
      );
    }
    return true;
  }

  /** What an operator does about NOSPACE: makes room, then lowers the alarm. */
  async recoverSpace(place: Place): Promise<void> {
    const { port, log, history } = this.#parts;
    const everything = deleteRequest({ key: Buffer.from('\0'), rangeEnd: Buffer.from('\0') });
    // What came of these nobody waits to hear.
    history.call(everything);
    await port.call(place, REQUEST_MS, (member, signal) =>
      member.deleteRange(everything, { signal, credentials: OPERATOR }),
    );
    const { revision } = log.model;
    history.call({ type: 'compact', revision });
    await port.call(place, REQUEST_MS, (member, signal) =>
      member.compact({ revision, physical: true }, { signal, credentials: OPERATOR }),
    );
    await port.call(place, REQUEST_MS, async (member, signal) => {
      const { result } = await member.alarm(
        { action: 'get', member: 0, alarm: 'no-space' },
        { signal, credentials: OPERATOR },
      );
      for (const { member: id, alarm } of result) {
        await member.alarm({ action: 'deactivate', member: id, alarm }, { signal, credentials: OPERATOR });
      }
    });
  }

  /** As etcd's guide has it: the cluster is told first, then the member starts at its new address. */
  #move(place: Place): boolean {
    const { cluster, port, random, trace } = this.#parts;
    const id = cluster.memberOf(place)?.id;
    if (id === undefined || place.lost || !place.running || cluster.isElsewhere(place)) return false;
    const url = new URL(place.url);
    url.port = String(Number(url.port) + 1);
    trace.line('faults', `moves ${place.name} to ${url.host}`);
    void port
      .call(random.pick(cluster.places), REQUEST_MS, (member, signal) =>
        member.memberUpdate({ id, peerUrls: [url.origin] }, { signal, credentials: OPERATOR }),
      )
      .then(() => {
        if (!this.stopped && cluster.isElsewhere(place)) cluster.kill(place, false);
      });
    return true;
  }

  #later(delayMs: number, run: () => void): void {
    this.#parts.scheduler.schedule(delayMs, { owner: null, kind: 'fault', run });
  }
}
