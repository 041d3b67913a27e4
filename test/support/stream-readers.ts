import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { WebSocket } from 'ws';

/** What a WebSocket client was told. */
export class SocketReader {
  readonly socket: WebSocket;
  readonly messages: Record<string, unknown>[] = [];
  readonly cursors: string[] = [];
  /** With the answer's headers, or the status and body of a refusal. */
  readonly opened: Promise<IncomingMessage['headers'] | { readonly status: number; readonly body: string }>;
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;

  constructor(
    url: string,
    {
      headers = {},
      autoPong = true,
      insecure = false,
    }: {
      readonly headers?: Record<string, string>;
      readonly autoPong?: boolean;
      /** Whatever certificate the server has. */
      readonly insecure?: boolean;
    } = {},
  ) {
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), {
      headers,
      autoPong,
      rejectUnauthorized: !insecure,
    });
    this.opened = new Promise((resolve) => {
      this.socket.on('upgrade', (response) => resolve(response.headers));
      this.socket.on('unexpected-response', (_request, response) => {
        void bodyOf(response).then((body) => resolve({ status: response.statusCode!, body }));
      });
    });
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.socket.on('error', () => undefined);
    this.socket.on('message', (data: Buffer) =>
      this.messages.push(JSON.parse(data.toString()) as Record<string, unknown>),
    );
    this.socket.on('ping', (data) => this.cursors.push(data.toString()));
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}

/** What came of a stream of server-sent events, read as the HTML standard says. */
export class EventReader {
  readonly events: { readonly type: string; readonly id: string; readonly data: string }[] = [];
  readonly opened: Promise<{
    readonly status: number;
    readonly headers: IncomingMessage['headers'];
    readonly body: string;
  }>;
  readonly ended: Promise<void>;
  lastEventId = '';
  retryMs = 0;
  comments = 0;
  readonly #leave: () => void;

  constructor(url: string, headers: Readonly<Record<string, string>> = {}, insecure = false) {
    const options = { headers: { accept: 'text/event-stream', ...headers }, rejectUnauthorized: !insecure };
    const sent = url.startsWith('https:') ? tlsRequest(url, options) : plainRequest(url, options);
    let over = (): void => undefined;
    this.ended = new Promise((resolve) => {
      over = resolve;
    });
    this.opened = new Promise((resolve, reject) => {
      sent.on('error', (error) => {
        over();
        reject(error);
      });
      sent.on('response', (response) => {
        const { statusCode: status = 0, headers: told } = response;
        if (status !== 200) {
          void bodyOf(response).then((body) => resolve({ status, headers: told, body }));
          return;
        }
        resolve({ status, headers: told, body: '' });
        let rest = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          const blocks = (rest + text).split('\n\n');
          rest = blocks.pop()!;
          for (const block of blocks) this.#take(block);
        });
        response.on('error', () => undefined);
        response.on('close', over);
      });
    });
    this.opened.catch(() => undefined);
    this.#leave = () => sent.destroy();
    sent.end();
  }

  close(): void {
    this.#leave();
  }

  #take(block: string): void {
    let [type, data] = ['', ''];
    for (const line of block.split('\n')) {
      const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (field === '') this.comments += 1;
      else if (field === 'id') this.lastEventId = value;
      else if (field === 'retry') this.retryMs = Number(value);
      else if (field === 'event') type = value;
      else if (field === 'data') data += value;
    }
    if (data !== '') this.events.push({ type, id: this.lastEventId, data });
  }
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
