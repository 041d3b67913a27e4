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
  /** Bytes of frames to far members that were deflated, before and after. */
  readonly deflated: { readonly before: number; readonly after: number };
  /** What `https` addresses use, by whom they are for. */
  readonly tls: ReadonlyMap<TlsSide, TlsFigures>;
}

type TlsSide = 'client' | 'peer';

export interface TlsFigures {
  /** When the certificate in use ends. */
  readonly notAfterMs: number;
  /** Changed files that were taken, and those that could not be. */
  readonly reloads: number;
  readonly reloadsFailed: number;
  /** Connections that came, and were not let in. */
  readonly handshakesFailed: number;
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
  const peersFailed = total(
    registry,
    'conclave_peer_tls_handshakes_failed_total',
    'TLS handshakes of members not completed',
  );
  const inflated = total(
    registry,
    'conclave_peer_deflate_input_bytes_total',
    'Bytes to far members that were to be deflated',
  );
  const deflated = total(
    registry,
    'conclave_peer_deflate_output_bytes_total',
    'Bytes to far members that were sent for them',
  );
  const reloads = new Counter({
    name: 'conclave_tls_reloads_total',
    help: 'Changed certificates, keys and revocation lists, by whether they were taken',
    labelNames: ['side', 'outcome'],
    registers,
  });
  const reloadsOf = (side: TlsSide) => ({
    taken: following(reloads.labels(side, 'taken')),
    refused: following(reloads.labels(side, 'refused')),
  });
  const sides = { client: reloadsOf('client'), peer: reloadsOf('peer') };
  return (figures) => {
    open.set(figures.connections.open);
    calls.set(figures.calls.open);
    held.set(figures.calls.heldBytes);
    refused(figures.connections.refused);
    failed(figures.connections.handshakesFailed);
    turned(figures.calls.refused);
    unread.set(figures.unread.bytes);
    ended(figures.unread.ended);
    inflated(figures.deflated.before);
    deflated(figures.deflated.after);
    peersFailed(figures.tls.get('peer')?.handshakesFailed ?? 0);
    for (const [side, tls] of figures.tls) {
      expiry.labels(side).set(Math.floor(tls.notAfterMs / 1000));
      sides[side].taken(tls.reloads);
      sides[side].refused(tls.reloadsFailed);
    }
  };
}

/** A counter that follows a total counted elsewhere. */
function total(registry: Registry, name: string, help: string): (now: number) => void {
  return following(new Counter({ name, help, registers: [registry] }));
}

function following(counter: { inc(by: number): void }): (now: number) => void {
  let last = 0;
  return (now) => {
    counter.inc(now - last);
    last = now;
  };
}
