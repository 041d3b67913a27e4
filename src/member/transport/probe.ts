import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import { Connection } from './connection.ts';
import { type DialContext, setDeadline, type TransportContext } from './context.ts';
import { encodeFrame, frameKinds, ProtocolError } from './frame.ts';
import { decodeRefusal, encodeHello, encodeRefusal, nobody } from './handshake.ts';
import { HANDSHAKE_FRAME_BYTES_MAX } from './limits.ts';
import { parsePeerUrl } from './peer-url.ts';
import { checkSecurity, connectTo } from './security.ts';

/**
 * One question to an address, on a connection of its own and before anybody has been introduced: a hello without
 * an identity, the question, the answer. Question and answer are at most HANDSHAKE_FRAME_BYTES_MAX.
 */

/**
 * Asks. Bounded by `signal` and, until an answer begins to matter, by the handshake's time.
 *
 * @throws StoreError `timeout-connection-lost` when the address cannot be reached or falls silent, `unhealthy` with
 *   the peer's reason when it refuses, `request-too-large`, `bad-options` for a malformed URL, the signal's error
 */
export async function sendProbe(options: {
  readonly context: DialContext;
  readonly url: string;
  readonly body: Buffer;
  readonly signal: CancelSignal;
}): Promise<Buffer> {
  const { context, url, body, signal } = options;
  if (signal.aborted) throw abortError(signal);
  if (body.length > HANDSHAKE_FRAME_BYTES_MAX) throw new StoreError('request-too-large');
  const endpoint = parsePeerUrl(url);
  checkSecurity(endpoint, context.security);
  return new Promise<Buffer>((resolve, reject) => {
    let outcome: Buffer | StoreError | null = null;
    const finish = (result: Buffer | StoreError): void => {
      outcome ??= result;
      connection.close('the probe is over');
    };
    const connection = new Connection(connectTo(endpoint, context.security), {
      payloadBytesMax: HANDSHAKE_FRAME_BYTES_MAX,
      events: {
        frame: (kind, payload) => finish(outcomeOf(kind, payload)),
        readEnd: () => {},
        drained: () => {},
        closed: (reason) => {
          deadline.cancel();
          signal.removeEventListener('abort', abort);
          context.connections.delete(connection);
          const result = outcome ?? new StoreError('timeout-connection-lost', `${url}: ${reason}`);
          if (result instanceof StoreError) reject(result);
          else resolve(result);
        },
      },
    });
    const abort = (): void => finish(abortError(signal));
    signal.addEventListener('abort', abort, { once: true });
    const deadline = setDeadline(
      context.clock,
      () => finish(new StoreError('timeout-connection-lost', `${url} does not answer`)),
      context.limits.handshakeTimeoutMs,
    );
    context.connections.add(connection);
    connection.write(encodeHello({ stream: 'probe', sender: nobody, to: 0 }));
    connection.write(encodeFrame(frameKinds.probe, body));
  });
}

function outcomeOf(kind: number, payload: Buffer): Buffer | StoreError {
  if (kind === frameKinds.probeAnswer) return Buffer.from(payload);
  if (kind === frameKinds.refusal) return new StoreError('unhealthy', decodeRefusal(payload));
  throw new ProtocolError('a frame of this kind does not answer a probe');
}

/** The answering end of one connection: one question, one answer, the end. */
export class ProbeReceiver {
  readonly #context: TransportContext;
  readonly #connection: Connection;
  #asked = false;

  constructor(options: { readonly context: TransportContext; readonly connection: Connection }) {
    this.#context = options.context;
    this.#connection = options.connection;
  }

  /** @throws ProtocolError on anything but one question */
  take(kind: number, payload: Buffer): void {
    if (kind !== frameKinds.probe || this.#asked) throw new ProtocolError('a probe is one question');
    this.#asked = true;
    void this.#answer(Buffer.from(payload));
  }

  /** As with requests, a rejection that is not a StoreError is a bug and is not caught. */
  async #answer(body: Buffer): Promise<void> {
    const { clock, handlers, limits } = this.#context;
    try {
      const answer = await handlers.probe(body);
      if (answer.length > HANDSHAKE_FRAME_BYTES_MAX) throw new StoreError('request-too-large');
      this.#connection.write(encodeFrame(frameKinds.probeAnswer, answer));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#connection.write(encodeRefusal(error.message));
    }
    this.#connection.closeAfterFlush('the probe is answered', { clock, lingerMs: limits.lingerMs });
  }
}
