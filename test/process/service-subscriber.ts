import { setTimeout as delay } from 'node:timers/promises';
import { configStream, type UpdateStream } from '../support/config-call.ts';
import { SCOPE } from './service-workload.ts';

/** What a subscriber was told. */
export interface Told {
  readonly revision: number;
  readonly key: string;
  readonly value: string;
}

/** Between two attempts to reach a member. */
const RETRY_MS = 20;
const OUT_OF_RANGE = 11;

/**
 * Takes the stream of updates from one member after the other, going on behind what it has. A change of several keys may
 * have been told in part: it is asked for again, and what was taken of it must come again just so.
 */
export class ServiceSubscriber {
  readonly told: Told[] = [];
  readonly violations: string[] = [];
  /** Streams that told something. */
  streams = 0;
  readonly #urls: readonly string[];
  #turn: number;
  #begun = 0;
  #stream: UpdateStream | null = null;
  #isRunning = true;
  #isAway = false;
  #done: Promise<void> = Promise.resolve();

  constructor(urls: readonly string[], first: number) {
    this.#urls = urls;
    this.#turn = first;
  }

  /** Resolves when it is told everything from now on. @returns after which revision */
  async start(): Promise<number> {
    const stream = this.#open(0);
    this.#begun = await stream.begun;
    this.#done = this.#run();
    stream.close();
    return this.#begun;
  }

  /** The revision of what was told last. */
  get revision(): number {
    return this.told.at(-1)?.revision ?? this.#begun;
  }

  /** Leaves its member, and goes on at another one. */
  move(): void {
    this.#turn += 1;
    this.#stream?.close();
  }

  /** Takes nothing until it comes back. */
  leave(): void {
    this.#isAway = true;
    this.move();
  }

  comeBack(): void {
    this.#isAway = false;
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.move();
    await this.#done;
  }

  #open(after: number): UpdateStream {
    const url = this.#urls[this.#turn % this.#urls.length]!;
    return configStream(url, { ...SCOPE, after_revision: after });
  }

  async #run(): Promise<void> {
    while (this.#isRunning) {
      if (!this.#isAway) await this.#follow();
      await delay(RETRY_MS);
    }
  }

  async #follow(): Promise<void> {
    const { revision } = this;
    const again = this.told.filter((told) => told.revision === revision);
    const stream = this.#open(Math.max(this.#begun, revision - 1));
    this.#stream = stream;
    let isOver = false;
    void stream.ended.then((status) => {
      isOver = true;
      if (status === OUT_OF_RANGE) this.violations.push(`gone after ${revision}`);
    });
    let taken = 0;
    while (!isOver || taken < stream.updates.length) {
      const update = stream.updates[taken];
      if (update === undefined) {
        await delay(RETRY_MS);
        continue;
      }
      const told = { revision: Number(update.revision), key: update.key, value: update.value };
      const known = again[taken];
      if (known === undefined) this.told.push(told);
      else if (JSON.stringify(known) !== JSON.stringify(told)) {
        this.violations.push(`told ${JSON.stringify(told)}, and before ${JSON.stringify(known)}`);
      }
      taken += 1;
    }
    this.#stream = null;
    stream.close();
    if (taken > 0) this.streams += 1;
    if (taken === 0) this.#turn += 1;
  }
}
