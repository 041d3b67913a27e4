import { afterEach, beforeEach, expect } from 'vitest';
import { Harness } from '../harness.ts';
import { RawClient } from './raw-client.ts';

/** A unary method that answers its request. */
export const ECHO = '/t.S/Echo';
/** It never answers before it is canceled. */
export const WAIT = '/t.S/Wait';
/** A stream whose requests are taken and not answered. */
export const TAKE = '/t.S/Take';
export const RECEIVE_BYTES_MAX = 2_000_000;

/** A server for each test of a file, with raw clients that end with it. */
export class RawConnections {
  readonly #clients: RawClient[] = [];
  #harness: Harness | null = null;
  /** Streams that `TAKE` began to serve. */
  taking = 0;

  constructor() {
    beforeEach(async () => {
      this.taking = 0;
      this.#harness = await new Harness({ receiveBytesMax: RECEIVE_BYTES_MAX }).start();
      this.#register(this.#harness);
    });
    afterEach(async () => {
      for (const client of this.#clients.splice(0)) client.destroy();
      await this.harness[Symbol.asyncDispose]();
      expect(this.harness.bugs).toEqual([]);
    });
  }

  get harness(): Harness {
    return this.#harness!;
  }

  /** Connected and greeted; `settings` are pairs of number and value. */
  async open(settings: readonly (readonly [number, number])[] = []): Promise<RawClient> {
    return this.adopt(await RawClient.open(this.harness.portNumber, settings));
  }

  /** Connected, nothing said yet. */
  async dial(): Promise<RawClient> {
    return this.adopt(await RawClient.dial(this.harness.portNumber));
  }

  adopt(client: RawClient): RawClient {
    this.#clients.push(client);
    return client;
  }

  /** A member still serves others. */
  async expectServing(): Promise<void> {
    const other = await this.open();
    other.call(1, ECHO, { message: Buffer.from('still here') });
    expect((await other.answer(1)).data.subarray(5).toString()).toBe('still here');
  }

  #register({ server }: Harness): void {
    server.unary(ECHO, async (request) => request);
    server.unary(
      WAIT,
      (_, call) =>
        new Promise((resolve) => call.signal.addEventListener('abort', () => resolve(Buffer.alloc(0)))),
    );
    server.bidi(TAKE, async (requests) => {
      this.taking += 1;
      for await (const _ of requests);
    });
  }
}
