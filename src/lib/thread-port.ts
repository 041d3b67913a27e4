import type { MessagePort } from 'node:worker_threads';

/**
 * One end of a message port between threads. What is sent in one turn of the event loop travels as one message, its
 * bytes gathered in one transferred buffer: cloned by itself, a Buffer would bring along all of the memory that it is
 * cut from. Plain objects, arrays, Buffers, numbers, bigints, texts, booleans, null and undefined can be sent.
 */
export class ThreadPort<Out, In> {
  readonly #port: MessagePort;
  #outbox: Out[] = [];
  #closed = false;

  /** @param on `message`: each in the order in which it was sent; `close`: once, whichever side closed */
  constructor(
    port: MessagePort,
    on: { readonly message: (message: In) => void; readonly close: () => void },
  ) {
    this.#port = port;
    port.on('message', (messages: In[]) => {
      for (const message of messages) on.message(owned(message) as In);
    });
    port.on('messageerror', (error) => {
      throw error;
    });
    port.on('close', () => {
      this.#closed = true;
      on.close();
    });
  }

  send(message: Out): void {
    if (this.#closed) return;
    this.#outbox.push(message);
    if (this.#outbox.length === 1) setImmediate(() => this.#flush());
  }

  /** What was sent before still goes. */
  close(): void {
    this.#flush();
    this.#closed = true;
    this.#port.close();
  }

  #flush(): void {
    if (this.#closed || this.#outbox.length === 0) return;
    const gathered = new GatheredBytes();
    const messages = gathered.take(this.#outbox);
    this.#outbox = [];
    this.#port.postMessage(messages, [gathered.fill()]);
  }
}

/** A place in a copy where bytes are to stand. */
interface Place {
  readonly within: unknown[] | Record<string, unknown>;
  readonly at: number | string;
  readonly bytes: Uint8Array;
}

/** Copies structures whose bytes are then views of one buffer. */
class GatheredBytes {
  readonly #places: Place[] = [];
  #length = 0;

  take(value: unknown): unknown {
    if (Array.isArray(value)) {
      const copy: unknown[] = Array.from({ length: value.length });
      for (let at = 0; at < value.length; at += 1) this.#put(copy, at, value[at]);
      return copy;
    }
    if (typeof value !== 'object' || value === null) return value;
    const copy: Record<string, unknown> = {};
    for (const [name, item] of Object.entries(value)) this.#put(copy, name, item);
    return copy;
  }

  /** @returns the buffer, to be transferred with the copies */
  fill(): ArrayBuffer {
    const all = new Uint8Array(this.#length);
    let offset = 0;
    for (const { within, at, bytes } of this.#places) {
      all.set(bytes, offset);
      (within as Record<number | string, unknown>)[at] = all.subarray(offset, offset + bytes.length);
      offset += bytes.length;
    }
    return all.buffer;
  }

  #put(within: unknown[] | Record<string, unknown>, at: number | string, value: unknown): void {
    if (value instanceof Uint8Array) {
      this.#places.push({ within, at, bytes: value });
      this.#length += value.length;
    } else {
      (within as Record<number | string, unknown>)[at] = this.take(value);
    }
  }
}

/** The structure itself with Buffers of its own in the place of views, which keep all of the message. */
function owned(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (typeof value !== 'object' || value === null) return value;
  const parts = value as Record<string, unknown>;
  for (const name of Object.keys(parts)) parts[name] = owned(parts[name]);
  return parts;
}
