import { OPERATOR } from './auth-operator.ts';
import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';
import { Violation } from './violation.ts';

/** Longer than the time between two checkpoints, in seconds. */
const TTL_SECONDS_MIN = 400;
/** One that starts from its checkpoint after the first sleep does not live through the second. */
const RENEWED_TTL_SECONDS_MAX = 640;
const IDLE_TTL_SECONDS_MAX = 900;
/** Everybody stands still for so long at a time: just more than the time between two checkpoints. */
const SLEEP_MS = 330_000;
/** Within this after waking, the leader that slept has proposed the checkpoints, in ms. */
const CHECKPOINT_MS = 12_000;
/** Between the grants and the first sleep, in ms: a few looks at the clock. */
const AWAKE_MS = 1_000;
const STEP_MS = 50;
const TIMEOUT_MS = 5_000;
/** What a time to live in whole seconds, the way to the client and a slow election may add, in seconds. */
const SLACK_SECONDS = 15;

/**
 * Leases of many minutes over a change of leader (RELIABILITY L5): the old leader has said how much time they have
 * left, the next one goes on from there. A client that renewed one meanwhile has its whole time again. Minutes pass
 * while all processes stand still, which costs nothing.
 */
export class LongLeases {
  readonly #parts: NemesisParts;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  /** Tries it once on a cluster that is whole; a cluster that changes its leader by itself shows nothing. */
  async run(): Promise<void> {
    const { client, random, cluster } = this.#parts;
    const leader = await this.#leader();
    const idle = await client.grant(leader, random.between(TTL_SECONDS_MIN, IDLE_TTL_SECONDS_MAX));
    const renewed = await client.grant(leader, random.between(TTL_SECONDS_MIN, RENEWED_TTL_SECONDS_MAX));
    const term = termOf(leader);
    // A lease begins to run when its leader next looks at the clock.
    await pause(this.#parts.scheduler, AWAKE_MS);
    if (idle !== null && renewed !== null) {
      await this.#sleep();
      await pause(this.#parts.scheduler, CHECKPOINT_MS);
      if (term !== null && termOf(leader) === term && leader.member?.isLeader() === true) {
        const leftSeconds = this.#checkpointed(idle.id);
        await client.keepAlive(leader, renewed.id);
        cluster.kill(leader, false);
        const next = await this.#leader();
        if (leftSeconds !== null) await this.#checkLeft(next, idle.id, leftSeconds);
        await this.#sleep();
      }
    }
    await this.#revokeAll();
  }

  /** What the log says is left of a lease. */
  #checkpointed(id: bigint): number | null {
    const { log } = this.#parts;
    for (const { operation } of log.entries.toReversed()) {
      if (operation?.type !== 'lease-checkpoint') continue;
      const found = operation.checkpoints.find((checkpoint) => checkpoint.id === id);
      if (found !== undefined) return found.remainingSeconds;
    }
    this.#fail(`${id} has no checkpoint ${(SLEEP_MS + CHECKPOINT_MS) / 1_000} s after it was granted`);
    return null;
  }

  async #checkLeft(place: Place, id: bigint, leftSeconds: number): Promise<void> {
    const { port } = this.#parts;
    const answer = await port.call(place, TIMEOUT_MS, (member, signal) =>
      member.leaseTimeToLive({ id, keys: false }, { signal, credentials: OPERATOR }),
    );
    if (answer.type !== 'answered') return;
    const { ttlSeconds } = answer.value.result;
    if (ttlSeconds > leftSeconds + SLACK_SECONDS)
      this.#fail(`${id} has ${ttlSeconds} s under the next leader, its checkpoint says ${leftSeconds}`);
  }

  async #sleep(): Promise<void> {
    const { cluster, scheduler, trace } = this.#parts;
    const processes = cluster.places.map((place) => place.process).filter((process) => process !== null);
    trace.line('faults', `everything stands still for ${SLEEP_MS / 1_000} s`);
    // Whoever waited for its disk finds that it waited long, and may end over that.
    for (const place of cluster.places) place.storageFaulty = true;
    for (const process of processes) process.pause();
    await pause(scheduler, SLEEP_MS);
    for (const process of processes) process.resume('stopped');
  }

  async #revokeAll(): Promise<void> {
    const { client, log } = this.#parts;
    const isLong = (id: bigint): boolean => (log.model.leases.get(id)?.ttlSeconds ?? 0) >= TTL_SECONDS_MIN;
    for (const id of [...log.model.leases.keys()].filter(isLong)) {
      while (isLong(id)) {
        await client.revoke(await this.#leader(), id);
        await pause(this.#parts.scheduler, STEP_MS);
      }
    }
  }

  async #leader(): Promise<Place> {
    const { cluster, scheduler } = this.#parts;
    for (;;) {
      const leader = cluster.leader();
      if (leader !== undefined) return leader;
      await pause(scheduler, STEP_MS);
    }
  }

  #fail(message: string): void {
    this.#parts.report(new Violation('lease', message));
  }
}

function termOf(place: Place): number | null {
  return place.member?.status().result.raftTerm ?? null;
}
