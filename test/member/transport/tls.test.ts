import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../src/lib/logger.ts';
import { systemClock } from '../../../src/member/system.ts';
import type { TransportLimits } from '../../../src/member/transport/limits.ts';
import { LOOPBACK_ONLY, type PeerSecurity } from '../../../src/member/transport/security.ts';
import { TcpTransport } from '../../../src/member/transport/transport.ts';
import type { TlsEndpoint } from '../../../src/tls/endpoint.ts';
import { transportContract } from '../../contract/transport.ts';
import { CertificateFiles, type Issued, TestAuthority } from '../../support/certificates.ts';
import { tlsEndpoint } from '../../support/tls-endpoint.ts';
import { eventually, never, seededRandom, TestMember } from './cast.ts';

const FREE_PORT = 'https://127.0.0.1:0';
const authority = new TestAuthority('members');

let files: CertificateFiles;
let ordinary: TlsEndpoint;
beforeAll(() => {
  files = new CertificateFiles();
  ordinary = endpoint('member', authority.issue('member'));
});
afterAll(() => files[Symbol.dispose]());

function endpoint(
  name: string,
  issued: Issued,
  settings: Parameters<typeof tlsEndpoint>[0] | object = {},
): TlsEndpoint {
  const { cert, key } = files.writePair(name, issued);
  const trustedCaFile = files.write('ca.pem', authority.cert);
  return tlsEndpoint({ certFile: cert, keyFile: key, trustedCaFile, checkClientAddress: true, ...settings });
}

transportContract('TLS', () => {
  const createAt = (listenUrls: readonly string[]): TcpTransport =>
    new TcpTransport({
      listenUrls,
      security: { tls: ordinary, allowInsecure: false },
      clock: systemClock,
      random: seededRandom(1),
      logger: silentLogger,
    });
  return { createAt, create: () => createAt([FREE_PORT]) };
});

describe('members with certificates', () => {
  const closing: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const resource of closing.splice(0)) await resource.close();
  });

  async function start(
    memberId: number,
    security: PeerSecurity,
    options: { readonly listenUrl?: string; readonly limits?: Partial<TransportLimits> } = {},
  ): Promise<{ readonly member: TestMember; readonly log: string[] }> {
    const log: string[] = [];
    const note = (fields: object, message: string): unknown =>
      log.push(`${message} ${JSON.stringify(fields)}`);
    const transport = new TcpTransport({
      listenUrls: [options.listenUrl ?? FREE_PORT],
      security,
      clock: systemClock,
      random: seededRandom(memberId),
      logger: { debug: () => undefined, info: note, warn: note, error: note },
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    closing.push(transport);
    return { member: await new TestMember(transport, { memberId }).start(), log };
  }

  const secured = (tls: TlsEndpoint): PeerSecurity => ({ tls, allowInsecure: false });

  test.each([
    ['of another authority', () => new TestAuthority('other').issue('member'), {}, /not accepted/],
    ['that has expired', () => authority.expired('member'), {}, /CERT_HAS_EXPIRED/],
    [
      'for another address',
      () => authority.issue('x', { hosts: ['203.0.113.7'] }),
      {},
      /not for 127\.0\.0\.1/,
    ],
    ['that is only for serving', () => authority.issue('x', { usages: ['server'] }), {}, /not accepted/],
    [
      'of a name not allowed',
      () => authority.issue('x'),
      { allowedCommonNames: ['member'] },
      /'x' is not one of/,
    ],
    [
      'for a host not allowed',
      () => authority.issue('x'),
      { allowedHostnames: ['m.example.com'] },
      /none of the/,
    ],
  ])('a dialer with a certificate %s is refused', async (_what, issue, rules, reason) => {
    const listener = await start(2, secured(endpoint('listener', authority.issue('member'), rules)));
    const dialer = await start(1, secured(endpoint('dialer', issue(), { checkClientAddress: false })));
    dialer.member.knows(listener.member);
    await eventually(() => listener.log.some((line) => reason.test(line)), 'the refusal');
    expect(dialer.member.transport.connected(2)).toBe(false);
  });

  test.each([
    [
      'of another authority',
      () => new TestAuthority('other').issue('member'),
      /unable to verify|self-signed/,
    ],
    ['for another host', () => authority.issue('x', { hosts: ['203.0.113.7'] }), /does not match/],
    ['that has expired', () => authority.expired('member'), /expired/],
  ])('a listener with a certificate %s is not spoken to', async (_what, issue, reason) => {
    const listener = await start(2, secured(endpoint('listener', issue())));
    const dialer = await start(1, secured(ordinary));
    dialer.member.knows(listener.member);
    await eventually(() => dialer.log.some((line) => reason.test(line)), 'the refusal');
    expect(dialer.member.transport.connected(2)).toBe(false);
  });

  test('a name that resolves to where the dialer is, and a certificate without any, are accepted', async () => {
    const listener = await start(2, secured(endpoint('listener', authority.issue('member'))));
    for (const [id, hosts] of [
      [1, ['localhost']],
      [3, []],
    ] as const) {
      const tls = endpoint(`dialer-${id}`, authority.issue('x', { hosts }), { checkClientAddress: false });
      const dialer = await start(id, secured(tls));
      dialer.member.knows(listener.member);
      await eventually(() => dialer.member.transport.connected(2), 'the connection');
    }
  });

  test('a revoked member is cut off, and does not come back', async () => {
    const victim = authority.issue('member');
    let nowMs = 0;
    const crlFile = files.write('peers.crl', authority.revocationList([]));
    const { cert, key } = files.writePair('listener', authority.issue('member'));
    const tls = tlsEndpoint(
      { certFile: cert, keyFile: key, crlFile, trustedCaFile: files.path('ca.pem') },
      { nowMs: () => nowMs },
    );
    const listener = await start(2, secured(tls), { limits: { sweepIntervalMs: 20 } });
    const dialer = await start(1, secured(endpoint('victim', victim)));
    dialer.member.knows(listener.member);
    await eventually(() => dialer.member.transport.connected(2), 'the connection');
    files.write('peers.crl', authority.revocationList([victim.serial]));
    nowMs = 1_000;
    await eventually(() => listener.log.some((line) => line.includes('is revoked')), 'the refusal');
    expect(dialer.member.transport.connected(2)).toBe(false);
  });

  test('plain text and TLS do not meet; plain text off this machine is not even tried', async () => {
    const listener = await start(2, secured(ordinary));
    const plain = await start(1, LOOPBACK_ONLY, { listenUrl: 'http://127.0.0.1:0' });
    const [url] = listener.member.transport.listenUrls;
    expect(url).toMatch(/^https:/);
    plain.member.transport.setPeers([{ id: 2, peerUrls: [url!.replace('https', 'http')] }]);
    await eventually(() => listener.log.some((line) => line.includes('TLS with')), 'the refusal');
    for (const unusable of ['http://203.0.113.1:2380', url!]) {
      plain.member.transport.setPeers([{ id: 3, peerUrls: [unusable] }]);
      await expect(plain.member.transport.probe(unusable, Buffer.alloc(0), never())).rejects.toMatchObject({
        code: 'bad-options',
      });
    }
    expect(plain.log.filter((line) => line.includes('no usable address'))).toHaveLength(2);
    await expect(start(4, LOOPBACK_ONLY, { listenUrl: 'http://0.0.0.0:0' })).rejects.toThrow(/unencrypted/);
    await expect(start(4, LOOPBACK_ONLY)).rejects.toThrow(/needs a certificate/);
    await start(5, { tls: null, allowInsecure: true }, { listenUrl: 'http://0.0.0.0:0' });
  });

  test('connections that never finish TLS give way, and members still get in', async () => {
    const listener = await start(2, secured(ordinary), { limits: { pendingHandshakesMax: 4 } });
    const port = Number(new URL(listener.member.transport.listenUrls[0]!).port);
    let cut = 0;
    const silent = Array.from({ length: 12 }, () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined).on('close', () => (cut += 1));
      return socket;
    });
    await eventually(() => cut >= 8, 'the oldest end');
    const dialer = await start(1, secured(ordinary));
    dialer.member.knows(listener.member);
    await eventually(() => dialer.member.transport.connected(2), 'the connection');
    for (const socket of silent) socket.destroy();
  });
});
