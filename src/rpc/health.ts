import { aborted } from '../lib/cancellation.ts';
import type { HealthCheckResponse } from './generated/grpc/health/v1/health.ts';
import { HealthCheckResponse_ServingStatus as Status } from './generated/grpc/health/v1/health.ts';
import type { RpcServer } from './server.ts';
import { serverStream, unary } from './service.ts';
import { RpcError, rpcStatus } from './status.ts';

/** Where the health service learns whether the server takes requests. */
export interface HealthSource {
  serving(): boolean;
  /** Calls back on every change; the result unsubscribes. */
  onChange(listener: () => void): () => void;
}

/**
 * Registers `grpc.health.v1.Health`. The empty service name stands for the server; every service registered before
 * this call has the same status.
 */
export function registerHealth(server: RpcServer, source: HealthSource): void {
  const services = new Set(['', ...server.paths().map((path) => path.split('/')[1]!)]);
  const status = (): HealthCheckResponse => ({
    status: source.serving() ? Status.SERVING : Status.NOT_SERVING,
  });

  unary(server, '/grpc.health.v1.Health/Check', async ({ service }) => {
    if (!services.has(service)) throw new RpcError(rpcStatus.notFound, `unknown service ${service}`);
    return status();
  });

  unary(server, '/grpc.health.v1.Health/List', async () => ({
    statuses: Object.fromEntries([...services].map((service) => [service, status()])),
  }));

  serverStream(server, '/grpc.health.v1.Health/Watch', async ({ service }, call, out) => {
    const current = (): HealthCheckResponse =>
      services.has(service) ? status() : { status: Status.SERVICE_UNKNOWN };
    let sent = current();
    out.write(sent);
    const unsubscribe = source.onChange(() => {
      const next = current();
      if (next.status !== sent.status) out.write(next);
      sent = next;
    });
    await aborted(call.signal);
    unsubscribe();
  });
}
