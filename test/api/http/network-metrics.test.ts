import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { networkMetrics } from '../../../src/api/http/network-metrics.ts';

const CONNECTIONS = { open: 3, refused: 1, handshakesFailed: 4 };
const UNREAD = { bytes: 9, ended: 1 };
const DEFLATED = { before: 9_000, after: 2_000 };
const CALLS = { open: 5, refused: 2, heldBytes: 600 };

test('totals are followed from page to page; each side of TLS is told apart', async () => {
  const registry = new Registry();
  const take = networkMetrics(registry);
  const lines = async (): Promise<string[]> => (await registry.metrics()).split('\n');
  take({ connections: CONNECTIONS, calls: CALLS, unread: UNREAD, deflated: DEFLATED, tls: new Map() });
  const plain = await lines();
  expect(plain).toContain('conclave_client_tls_handshakes_failed_total 4');
  expect(plain.some((line) => line.startsWith('conclave_tls_'))).toBe(false);

  const client = { notAfterMs: 2_000_000_500, reloads: 1, reloadsFailed: 0, handshakesFailed: 4 };
  const peer = { notAfterMs: 3_000_000_000, reloads: 0, reloadsFailed: 0, handshakesFailed: 1 };
  take({
    connections: CONNECTIONS,
    calls: CALLS,
    unread: UNREAD,
    deflated: DEFLATED,
    tls: new Map([['client', client] as const, ['peer', peer]]),
  });
  const later = { ...client, reloads: 3, reloadsFailed: 2 };
  const peerLater = { ...peer, handshakesFailed: 6 };
  take({
    connections: { ...CONNECTIONS, handshakesFailed: 7 },
    calls: CALLS,
    unread: UNREAD,
    deflated: { before: 10_000, after: 2_100 },
    tls: new Map([['client', later] as const, ['peer', peerLater]]),
  });
  expect(await lines()).toEqual(
    expect.arrayContaining([
      'conclave_client_tls_handshakes_failed_total 7',
      'conclave_peer_tls_handshakes_failed_total 6',
      'conclave_peer_deflate_input_bytes_total 10000',
      'conclave_peer_deflate_output_bytes_total 2100',
      'conclave_tls_certificate_expiry_timestamp_seconds{side="client"} 2000000',
      'conclave_tls_certificate_expiry_timestamp_seconds{side="peer"} 3000000',
      'conclave_tls_reloads_total{side="client",outcome="taken"} 3',
      'conclave_tls_reloads_total{side="client",outcome="refused"} 2',
      'conclave_tls_reloads_total{side="peer",outcome="taken"} 0',
    ]),
  );
});
