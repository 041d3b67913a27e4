type Listener = (event: { readonly data: string; readonly lastEventId: string }) => void;

/**
 * What browsers have and Node 20 has not: a stream of server-sent events that reconnects with the last id, as far as
 * providers of flags use it.
 */
export class FetchEventSource {
  readyState = 0;
  readonly #url: string;
  readonly #listeners = new Map<string, Listener[]>();
  readonly #closing = new AbortController();
  #lastId = '';

  constructor(url: string) {
    this.#url = url;
    void this.#run();
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  close(): void {
    this.readyState = 2;
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await this.#connect();
      } catch {
        if (this.#closing.signal.aborted) return;
      }
      this.readyState = 0;
      this.#tell('error', '');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async #connect(): Promise<void> {
    const response = await fetch(this.#url, {
      headers: { accept: 'text/event-stream', ...(this.#lastId !== '' && { 'last-event-id': this.#lastId }) },
      signal: this.#closing.signal,
    });
    if (response.status !== 200 || response.body === null) {
      this.close();
      this.#tell('error', '');
      return;
    }
    this.readyState = 1;
    this.#tell('open', '');
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        this.#take(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  }

  #take(block: string): void {
    const fields = new Map(
      block.split('\n').map((line) => {
        const at = line.indexOf(':');
        return [line.slice(0, at), line.slice(at + 1).trim()] as const;
      }),
    );
    this.#lastId = fields.get('id') ?? this.#lastId;
    const data = fields.get('data');
    if (data !== undefined) this.#tell(fields.get('event') ?? 'message', data);
  }

  #tell(type: string, data: string): void {
    for (const listener of this.#listeners.get(type) ?? []) listener({ data, lastEventId: this.#lastId });
  }
}
