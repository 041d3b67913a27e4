import type { RequestListener } from 'node:http';
import { toRpcError } from './api/errors.ts';
import { EVALUATION_BYTES_MAX } from './api/flag-scope.ts';
import type { Logger } from './lib/logger.ts';
import { ClientPort } from './rpc/client-port.ts';
import { GrpcServer } from './rpc/grpc-server.ts';
import { type HealthSource, registerHealth } from './rpc/health.ts';
import { registerReflection } from './rpc/reflection.ts';
import type { RpcServer } from './rpc/server.ts';
import type { TlsEndpoint } from './tls/endpoint.ts';

export interface FlagdPortOptions {
  /** Registers what is served there. */
  readonly register: (server: RpcServer) => void;
  readonly health: HealthSource;
  /** Answers HTTP/1.1 requests. */
  readonly http: RequestListener;
  readonly tls: TlsEndpoint | null;
  readonly certificatesName: boolean;
  readonly concurrentStreamsMax: number;
  readonly logger: Logger;
  readonly onBug: (error: unknown) => void;
}

/** A port for flagd's clients, where there are flags and nothing of the store. It listens nowhere yet. */
export function flagdPort(options: FlagdPortOptions): ClientPort {
  const { register, health, http, tls, certificatesName, concurrentStreamsMax, logger, onBug } = options;
  const grpc = new GrpcServer({
    receiveBytesMax: 2 * EVALUATION_BYTES_MAX,
    concurrentStreamsMax,
    errorStatus: toRpcError,
    onBug,
  });
  register(grpc);
  registerHealth(grpc, health);
  registerReflection(grpc);
  return new ClientPort({ grpc, http, tls, certificatesName, logger });
}
