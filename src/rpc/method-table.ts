import type { BidiHandler, RpcServer, ServerStreamHandler, UnaryHandler } from './server.ts';

/** A registered method, to be called within the process. */
export type Method =
  | { readonly kind: 'unary'; readonly handler: UnaryHandler }
  | { readonly kind: 'server-stream'; readonly handler: ServerStreamHandler }
  | { readonly kind: 'bidi'; readonly handler: BidiHandler };

/** Registers methods with a server and keeps them at hand, so that another face can serve the same handlers. */
export class MethodTable implements RpcServer {
  readonly #server: RpcServer;
  readonly #methods = new Map<string, Method>();

  constructor(server: RpcServer) {
    this.#server = server;
  }

  /** The method of a path, if it was registered here. */
  method(path: string): Method | undefined {
    return this.#methods.get(path);
  }

  unary(path: string, handler: UnaryHandler): void {
    this.#server.unary(path, handler);
    this.#methods.set(path, { kind: 'unary', handler });
  }

  serverStream(path: string, handler: ServerStreamHandler): void {
    this.#server.serverStream(path, handler);
    this.#methods.set(path, { kind: 'server-stream', handler });
  }

  bidi(path: string, handler: BidiHandler): void {
    this.#server.bidi(path, handler);
    this.#methods.set(path, { kind: 'bidi', handler });
  }

  /** Registers what these services have here with another server, too. */
  offer(server: RpcServer, services: readonly string[]): void {
    for (const [path, method] of this.#methods) {
      if (!services.includes(path.split('/')[1]!)) continue;
      if (method.kind === 'unary') server.unary(path, method.handler);
      else if (method.kind === 'server-stream') server.serverStream(path, method.handler);
      else server.bidi(path, method.handler);
    }
  }

  paths(): readonly string[] {
    return this.#server.paths();
  }
}
