import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { StoreError } from '../../lib/errors.ts';
import { requestTarget } from '../../lib/request-target.ts';
import { type Unread, UnreadBudget } from '../../lib/unread-budget.ts';
import { CALL_BYTES, CallBudget, DEFAULT_CALL_LIMITS, type Holding } from '../../rpc/call-budget.ts';
import type { MethodDescription } from '../../rpc/codec.ts';
import { serviceMethods } from '../../rpc/codec.ts';
import type { Method, MethodTable } from '../../rpc/method-table.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import { toRpcError } from '../errors.ts';
import { GatewayStream, sendAnswer, sendError, sendStreamError } from './gateway-answer.ts';
import { type BodyReader, readRequest, readRequests } from './gateway-body.ts';
import { GatewayCall } from './gateway-call.ts';
import { crossOrigin } from './gateway-origin.ts';
import { GATEWAY_ROUTES } from './gateway-routes.ts';

const ANSWER_STALL_MS = 60_000;

export interface GatewayOptions {
  /** Where the methods are found that it serves. */
  readonly methods: MethodTable;
  /** A larger request, as bytes, is refused with `resource-exhausted`. */
  readonly requestBytesMax: number;
  /** Origins whose web pages may use it; `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Where answers count that clients have not read; default: one of its own. */
  readonly unread?: UnreadBudget;
  /** What requests and open calls may take of the member's memory; default: a budget of its own. */
  readonly requests?: CallBudget;
  /** A client that takes nothing of a large answer for this long is cut off. Default 60 s. */
  readonly answerStallMs?: number;
  /** Told of rejections that are neither RpcErrors nor StoreErrors: bugs. */
  readonly onBug: (error: unknown) => void;
}

interface Route {
  readonly description: MethodDescription;
  readonly method: Method;
}

/**
 * etcd's JSON gateway: every method of the gRPC API as a POST of JSON, served by the same handlers in this process.
 * Streams answer one `{"result":...}` a line; a stream of requests is one JSON object after the other in the body.
 */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #routes = new Map<string, Route>();
  readonly #streams = new Set<GatewayCall>();
  readonly #unread: UnreadBudget;
  readonly #requests: CallBudget;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#unread = options.unread ?? new UnreadBudget();
    this.#requests = options.requests ?? new CallBudget(DEFAULT_CALL_LIMITS);
    for (const [path, rpc] of GATEWAY_ROUTES) {
      const method = options.methods.method(rpc);
      const description = serviceMethods(rpc.split('/')[1]!).find((candidate) => candidate.path === rpc);
      if (method !== undefined && description !== undefined) this.#routes.set(path, { method, description });
    }
  }

  /** Serves its own paths, and hands every other request to `next`. */
  handler(next: RequestListener): RequestListener {
    return (request, response) => {
      const origin = crossOrigin(request, this.#options.corsOrigins);
      if (origin.allowed !== null) {
        response.setHeader('access-control-allow-origin', origin.allowed);
        response.setHeader('access-control-allow-methods', 'POST, GET, OPTIONS, PUT, DELETE');
        response.setHeader(
          'access-control-allow-headers',
          'accept, content-type, authorization, conclave-max-staleness-ms',
        );
        response.setHeader('access-control-expose-headers', 'conclave-age-ms, conclave-region');
        if (origin.allowed !== '*') response.setHeader('vary', 'Origin');
      }
      if (request.method === 'OPTIONS') response.writeHead(200).end();
      else if (!PREFIX.test(requestTarget(request.url).path)) next(request, response);
      else if (origin.refused) {
        sendError(
          response,
          new RpcError(rpcStatus.permissionDenied, 'the origin of this page is not allowed'),
        );
      } else void this.#serve(request, response);
    };
  }

  /** Ends every stream with `stopped`; other calls may finish. */
  drain(): void {
    for (const call of this.#streams) call.abort(new StoreError('stopped'));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = this.#routes.get(pathOf(request));
    if (route === undefined) return sendError(response, new RpcError(rpcStatus.notFound, 'Not Found'));
    if (request.method !== 'POST') {
      response.setHeader('allow', 'POST');
      return sendError(response, new RpcError(rpcStatus.unimplemented, 'Method Not Allowed'));
    }
    try {
      const call = new GatewayCall(route.description.path, request, response);
      const unread = this.#unread.open(() => response.destroy());
      const holding = this.#hold(request, call);
      await this.#run(route, { request, response, call, unread, holding }).finally(() => {
        call.abort(new StoreError('canceled'));
        unread.close();
        holding.release();
        this.#requests.close(request);
      });
    } catch (error) {
      sendError(response, this.#statusOf(error));
    }
  }

  /** What a request holds. Each counts as a connection of its own. */
  #hold(request: IncomingMessage, call: GatewayCall): Holding {
    const holding = this.#requests.open(request, {
      call: {
        get isWhole() {
          return request.complete;
        },
        exhaust: () => {
          holding.release();
          call.abort(new StoreError('too-many-requests'));
        },
      },
      endless: true,
      nowMs: 0,
    });
    return holding;
  }

  async #run({ method, description }: Route, exchange: Exchange): Promise<void> {
    const { holding } = exchange;
    if (!holding.take(CALL_BYTES)) throw new StoreError('too-many-requests');
    const { requestBytesMax } = this.#options;
    const reader = { message: description.request, requestBytesMax, holding };
    if (method.kind === 'bidi') {
      const requests = new RequestQueue(exchange, reader);
      const start = (stream: GatewayStream): Promise<void> => {
        const work = method.handler(requests.take(), exchange.call, stream);
        return Promise.race([work, requests.failed]);
      };
      return this.#stream(exchange, description, start, requests);
    }
    const { call, response, unread } = exchange;
    const bytes = await Promise.race([readRequest(exchange.request, reader), call.over]);
    if (method.kind === 'unary') {
      const work = method.handler(bytes, call);
      this.#watch(work);
      const answer = await Promise.race([work, call.over]);
      const stallMs = this.#options.answerStallMs ?? ANSWER_STALL_MS;
      return sendAnswer(response, { message: description.response, answer, unread, stallMs });
    }
    return this.#stream(exchange, description, (stream) => method.handler(bytes, call, stream));
  }

  async #stream(
    { call, response, unread }: Exchange,
    { response: message }: MethodDescription,
    start: (stream: GatewayStream) => Promise<void>,
    requests: Pick<RequestQueue, 'firstFailed'> = { firstFailed: false },
  ): Promise<void> {
    const stream = new GatewayStream(response, { message, unread, signal: call.signal });
    this.#streams.add(call);
    try {
      const work = start(stream);
      this.#watch(work);
      // The client's stop must end a handler that waits for something else, too: whichever comes first decides.
      await Promise.race([work, call.over]);
      stream.end();
    } catch (error) {
      // Without a first request there is no stream yet to tell of it in.
      if (requests.firstFailed) throw error;
      sendStreamError(response, this.#statusOf(error));
    } finally {
      this.#streams.delete(call);
    }
  }

  /** Whatever a handler still does after its call is over concerns nobody but the finder of bugs. */
  #watch(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#noticeBug(error));
  }

  #statusOf(error: unknown): RpcError {
    this.#noticeBug(error);
    return toRpcError(error);
  }

  #noticeBug(error: unknown): void {
    if (!(error instanceof RpcError) && !(error instanceof StoreError)) this.#options.onBug(error);
  }
}

const PREFIX = /^\/v3(beta|alpha)?\//;

function pathOf({ url }: IncomingMessage): string {
  return requestTarget(url).path.replace(PREFIX, '/v3/');
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly call: GatewayCall;
  readonly unread: Unread;
  readonly holding: Holding;
}

/** The requests of a body for a handler, which must not see a failure to read them: that ends the whole call. */
class RequestQueue {
  /** Rejects with why a request could not be read. */
  readonly failed: Promise<never>;
  /** That was the first one. */
  firstFailed = false;
  readonly #exchange: Exchange;
  readonly #reader: BodyReader;
  #fail: (error: unknown) => void = () => undefined;

  constructor(exchange: Exchange, reader: BodyReader) {
    this.#exchange = exchange;
    this.#reader = reader;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
  }

  async *take(): AsyncGenerator<Buffer> {
    let isFirst = true;
    try {
      for await (const bytes of readRequests(this.#exchange.request, this.#reader)) {
        isFirst = false;
        yield bytes;
      }
    } catch (error) {
      // A client that went away ends the call by itself.
      if (error instanceof StoreError) return;
      this.firstFailed = isFirst;
      this.#fail(error);
    }
  }
}
