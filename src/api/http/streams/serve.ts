import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import type { SharedBytes } from '../../../lib/shared-bytes.ts';
import type { Caller } from '../../../service/caller.ts';
import type { ConfigurationEvent } from '../../../service/events/event.ts';
import { ServiceError } from '../../../service/service-error.ts';
import type { RestContext } from '../rest/context.ts';
import { isOfAnotherSite } from '../rest/other-sites.ts';
import { LiveStream, type StreamRequest } from './live-stream.ts';
import { SsePeer } from './sse-peer.ts';
import type { Upgrade } from './upgrade.ts';
import { WebSocketPeer } from './web-socket-peer.ts';

interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** How often the system asks whether a silent client is still there, from when on. */
const KEEP_ALIVE_MS = 30_000;

/** Answers with server-sent events, until one end leaves. @throws ServiceError before it begins */
export async function serveEventStream(
  { service, streams }: RestContext,
  { request, reply }: Exchange,
  asked: StreamRequest,
): Promise<void> {
  checkPage(request);
  const { limits, bytes } = streams;
  const stop = new AbortController();
  const caller = leaving(request.caller, stop);
  await streams.whileOpen(
    () => stop.abort(),
    async () => {
      const live = await LiveStream.open(service, caller, asked);
      reply.hijack();
      request.letGo();
      const { raw } = reply;
      raw.socket?.setKeepAlive(true, KEEP_ALIVE_MS);
      await live.run(
        new SsePeer(raw, { begin: live.begin, bytes: bytes.blocks, limits }),
        limits.heartbeatMs,
      );
    },
  );
}

/** Makes a WebSocket of the connection, until one end leaves. @throws ServiceError before it is one */
export async function serveWebSocket(
  { service, streams }: RestContext,
  { request, reply }: Exchange,
  {
    upgrade,
    asked,
    bytes,
    headers = {},
  }: {
    readonly upgrade: Upgrade;
    readonly asked: StreamRequest;
    readonly bytes: SharedBytes<ConfigurationEvent>;
    /** Of the answer, besides. */
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<void> {
  checkPage(request);
  const stop = new AbortController();
  const caller = leaving(request.caller, stop);
  await streams.whileOpen(
    () => stop.abort(),
    async () => {
      const live = await LiveStream.open(service, caller, asked);
      reply.hijack();
      request.letGo();
      reply.raw.detachSocket(upgrade.socket as Socket);
      const told = { 'conclave-revision': live.begin, ...headers };
      const socket = accepted(streams.webSockets, { request, upgrade, headers: told });
      if (socket === null) return live.close();
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      void closed.then(() => stop.abort());
      (upgrade.socket as Socket).setKeepAlive(true, KEEP_ALIVE_MS);
      const { limits } = streams;
      const { registration } = live;
      const peer = new WebSocketPeer(socket, { raw: upgrade.socket, bytes, limits, registration });
      await live.run(peer, limits.heartbeatMs);
      await closed;
    },
  );
}

/** A stream may register an instance, which a page of another site must not. @throws ServiceError `forbidden` */
function checkPage({ raw }: FastifyRequest): void {
  if (isOfAnotherSite(raw)) throw new ServiceError('forbidden', 'pages of other sites may not open streams');
}

/** The same caller, who also leaves when the stream is to end. */
function leaving(caller: Caller, stop: AbortController): Caller {
  if (caller.signal.aborted) stop.abort();
  caller.signal.addEventListener('abort', () => stop.abort(), { once: true });
  return { ...caller, signal: stop.signal };
}

/** Null when the handshake is wrong, which was answered. */
function accepted(
  server: RestContext['streams']['webSockets'],
  {
    request,
    upgrade,
    headers,
  }: {
    readonly request: FastifyRequest;
    readonly upgrade: Upgrade;
    readonly headers: Readonly<Record<string, string>>;
  },
): WebSocket | null {
  let found: WebSocket | null = null;
  const addHeaders = (lines: string[]): void => {
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  };
  server.once('headers', addHeaders);
  // It calls back before it returns, or not at all.
  server.handleUpgrade(request.raw, upgrade.socket, upgrade.head, (socket) => {
    found = socket;
  });
  server.off('headers', addHeaders);
  return found;
}
