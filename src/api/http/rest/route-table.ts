import type { FastifyInstance } from 'fastify';

/** Which methods a path takes: asked only when there is no route. */
export class RouteTable {
  readonly #routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];

  /** Hears of every route that the app gets from now on. */
  constructor(app: FastifyInstance) {
    app.addHook('onRoute', ({ url, method }) => {
      const parts = url.split('/').map((part) => (part.startsWith(':') ? '[^/]+' : escaped(part)));
      this.#routes.push({ pattern: new RegExp(`^${parts.join('/')}$`), methods: [method].flat() });
    });
  }

  /** In order; none = there is no such path. */
  methodsOf(path: string): readonly string[] {
    const methods = this.#routes
      .filter(({ pattern }) => pattern.test(path))
      .flatMap((route) => route.methods);
    return [...new Set(methods)].sort();
  }
}

function escaped(part: string): string {
  return part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
