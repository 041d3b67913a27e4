import type { EtcdBackend } from '../../../src/api/etcd/backend.ts';
import { Gateway } from '../../../src/api/etcd/gateway.ts';
import type { EtcdLimits } from '../../../src/api/etcd/limits.ts';
import { DEFAULT_ETCD_LIMITS } from '../../../src/api/etcd/limits.ts';
import { registerEtcd } from '../../../src/api/etcd/register.ts';
import type { UnreadBudget } from '../../../src/lib/unread-budget.ts';
import type { CallBudget } from '../../../src/rpc/call-budget.ts';
import { MethodTable } from '../../../src/rpc/method-table.ts';
import { Harness } from '../../rpc/harness.ts';
import { FakeBackend } from './fake-backend.ts';

export interface EtcdHarnessOptions {
  readonly corsOrigins?: readonly string[];
  readonly gatewayBytesMax?: number;
  readonly unread?: UnreadBudget;
  readonly requests?: CallBudget;
  readonly answerStallMs?: number;
}

/** The etcd face, gRPC and JSON, over some backend, on a real server. */
export class FaceHarness<Backend extends EtcdBackend> extends Harness {
  readonly backend: Backend;
  readonly gateway: Gateway;

  constructor(backend: Backend, limits: Partial<EtcdLimits> = {}, options: EtcdHarnessOptions = {}) {
    super({
      http: (request, response) =>
        this.gateway.handler((_, unclaimed) => {
          unclaimed.writeHead(200).end('unclaimed');
        })(request, response),
    });
    this.backend = backend;
    const methods = new MethodTable(this.server);
    registerEtcd(methods, this.backend, { ...DEFAULT_ETCD_LIMITS, leaderLossGraceMs: 0, ...limits });
    this.gateway = new Gateway({
      methods,
      requestBytesMax: options.gatewayBytesMax ?? 2 * 1024 * 1024,
      corsOrigins: options.corsOrigins ?? [],
      ...(options.unread === undefined ? {} : { unread: options.unread }),
      ...(options.requests === undefined ? {} : { requests: options.requests }),
      ...(options.answerStallMs === undefined ? {} : { answerStallMs: options.answerStallMs }),
      onBug: (error) => this.bugs.push(error),
    });
  }

  /** A POST of JSON, or of a text as it is. */
  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`http://${this.address}${path}`, {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }
}

/** The etcd face over a fake backend. */
export class EtcdHarness extends FaceHarness<FakeBackend> {
  constructor(limits: Partial<EtcdLimits> = {}, options: EtcdHarnessOptions = {}) {
    super(new FakeBackend(), limits, options);
  }
}
