import { Counter, Gauge, type Registry } from 'prom-client';

/** What clients' connections and certificates look like now. Counts are totals since the start. */
export interface NetworkFigures {
  readonly connections: {
    readonly open: number;
    readonly refused: number;
    readonly handshakesFailed: number;
  };
  readonly calls: { readonly open: number; readonly refused: number; readonly heldBytes: number };
  /** Answers that clients have not read, and clients disconnected for it. */
  readonly unread: { readonly bytes: number; readonly ended: number };
  /** When the certificate in use ends, by what it is for. */
  readonly certificatesNotAfterMs: ReadonlyMap<'client' | 'peer', number>;
}

/** Answers a function that takes the figures at every scrape. */
export function networkMetrics(registry: Registry): (figures: NetworkFigures) => void {
  const registers = [registry];
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
  const open = gauge('conclave_client_connections', 'Connections of clients');
  const calls = gauge('conclave_client_calls', 'Calls of clients in progress');
  const held = gauge('conclave_client_request_bytes', 'Memory held by requests of clients, estimated');
  const refused = total(registry, 'conclave_client_connections_refused_total', 'Connections over the limit');
  const failed = total(
    registry,
    'conclave_client_tls_handshakes_failed_total',
    'TLS handshakes not completed',
  );
  const turned = total(registry, 'conclave_client_calls_refused_total', 'Calls refused over a limit');
  const unread = gauge('conclave_client_unread_bytes', 'Memory held by answers that clients have not read');
  const ended = total(
    registry,
    'conclave_client_unread_disconnects_total',
    'Clients disconnected because they did not read their answers',
  );
  const expiry = new Gauge({
    name: 'conclave_tls_certificate_expiry_timestamp_seconds',
    help: 'When the certificate in use ends, in seconds since the epoch',
    labelNames: ['side'],
    registers,
  });
  return (figures) => {
    open.set(figures.connections.open);
    calls.set(figures.calls.open);
    held.set(figures.calls.heldBytes);
    refused(figures.connections.refused);
    failed(figures.connections.handshakesFailed);
    turned(figures.calls.refused);
    unread.set(figures.unread.bytes);
    ended(figures.unread.ended);
    for (const [side, notAfterMs] of figures.certificatesNotAfterMs) {
      expiry.labels(side).set(Math.floor(notAfterMs / 1000));
    }
  };
}

/** A counter that follows a total counted elsewhere. */
function total(registry: Registry, name: string, help: string): (now: number) => void {
  const counter = new Counter({ name, help, registers: [registry] });
  let last = 0;
  return (now) => {
    counter.inc(now - last);
    last = now;
  };
}
