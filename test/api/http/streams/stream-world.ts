import type { RequestListener } from 'node:http';
import { HttpFace } from '../../../../src/api/http/http-face.ts';
import { restApp } from '../../../../src/api/http/rest/app.ts';
import type { StreamLimits } from '../../../../src/api/http/streams/limits.ts';
import { routeUpgrade } from '../../../../src/api/http/streams/upgrade.ts';
import type { IdentityOptions } from '../../../../src/api/identity.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { inWorld, type World, type WorldOptions } from '../../../service/world.ts';

/** A service that listens. */
export interface StreamWorld extends World {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Ends the face, as a stop does; it is done by itself in the end. */
  readonly stop: () => Promise<void>;
}

export interface StreamWorldOptions extends WorldOptions {
  readonly limits?: Partial<StreamLimits>;
  readonly identity?: Partial<IdentityOptions>;
}

export async function inStreamWorld<T>(
  run: (world: StreamWorld) => Promise<T>,
  options: StreamWorldOptions = {},
): Promise<T> {
  return inWorld(async (world) => {
    const app = await restApp({
      service: world.service,
      identity: { kv: world.memory, requireIdentity: false, ...options.identity },
      logger: silentLogger,
      streamLimits: options.limits,
    });
    const face = await HttpFace.open({
      urls: ['http://127.0.0.1:0'],
      operations: (_request, response) => response.end(),
      tls: null,
      logger: silentLogger,
    });
    const route: RequestListener = (request, response) => app.routing(request, response);
    face.serve({
      request: route,
      upgrade: (request, socket, head) => routeUpgrade(route, { request, socket, head }),
      close: () => app.close(),
    });
    try {
      const url = `http://127.0.0.1:${face.addresses[0]!.port}`;
      return await run({ ...world, url, stop: () => face.close() });
    } finally {
      await face.close();
    }
  }, options);
}
