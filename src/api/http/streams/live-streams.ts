import { WebSocketServer } from 'ws';
import { ServiceError } from '../../../service/service-error.ts';
import { EventBytes } from './frames.ts';
import type { StreamLimits } from './limits.ts';

/** The streams over HTTP that are open, to be ended when the server stops. */
export class LiveStreams {
  readonly limits: StreamLimits;
  readonly bytes: EventBytes = new EventBytes();
  readonly webSockets: WebSocketServer;
  readonly #ends = new Set<() => void>();
  #isStopping = false;
  #emptied: () => void = () => undefined;

  constructor(limits: StreamLimits) {
    this.limits = limits;
    this.webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.messageBytesMax,
    });
  }

  /**
   * Runs as long as a stream is open.
   *
   * @param end is called when the server stops
   * @throws ServiceError `unavailable` when it stops already
   */
  async whileOpen<T>(end: () => void, run: () => Promise<T>): Promise<T> {
    if (this.#isStopping) throw new ServiceError('unavailable', 'the server stops');
    this.#ends.add(end);
    try {
      return await run();
    } finally {
      this.#ends.delete(end);
      if (this.#ends.size === 0) this.#emptied();
    }
  }

  /** Ends them all; clients have a bounded time to hear of it. */
  async close(): Promise<void> {
    this.#isStopping = true;
    const empty = new Promise<void>((resolve) => {
      this.#emptied = resolve;
      if (this.#ends.size === 0) resolve();
    });
    for (const end of this.#ends) end();
    const timer = setTimeout(() => this.#emptied(), this.limits.closeMsMax);
    await empty;
    clearTimeout(timer);
    this.webSockets.close();
  }
}
