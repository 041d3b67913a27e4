import { truncateSync } from 'node:fs';
import { get } from 'node:https';
import { connect } from 'node:net';
import { type ConnectionOptions, type DetailedPeerCertificate, connect as tlsConnect } from 'node:tls';
import grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clientConnectionOf } from '../../src/rpc/client-connection.ts';
import type { TlsSettings } from '../../src/tls/endpoint.ts';
import { CertificateFiles, type Issued, TestAuthority } from '../support/certificates.ts';
import { tlsEndpoint } from '../support/tls-endpoint.ts';
import { failure, Harness } from './harness.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const authority = new TestAuthority();
const server = authority.issue('server');
const client = authority.issue('alice');
const ca = Buffer.from(authority.cert);

let files: CertificateFiles;
/** What the endpoints take for the time: their files are looked at only when it moves. */
let nowMs: number;
const logged: [string, object][] = [];
const logger = {
  debug: () => undefined,
  info: (fields: object, message: string) => logged.push([message, fields]),
  warn: (fields: object, message: string) => logged.push([message, fields]),
  error: (fields: object, message: string) => logged.push([message, fields]),
};
beforeEach(() => {
  files = new CertificateFiles();
  nowMs = 0;
  logged.length = 0;
});
afterEach(() => files[Symbol.dispose]());

function credentials(issued?: Issued, root: Buffer = ca): grpc.ChannelCredentials {
  if (issued === undefined) return grpc.credentials.createSsl(root);
  return grpc.credentials.createSsl(root, Buffer.from(issued.key), Buffer.from(issued.cert));
}

async function echo(harness: Harness, channel: grpc.ChannelCredentials): Promise<string> {
  const caller = new grpc.Client(harness.address, channel, { 'grpc.ssl_target_name_override': 'localhost' });
  try {
    return await new Promise((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, answer?: Buffer): void =>
        error === null ? resolve(String(answer)) : reject(error);
      caller.makeUnaryRequest('/t.S/Who', identity, identity, Buffer.from('x'), done);
    });
  } finally {
    caller.close();
  }
}

async function refused(harness: Harness, channel: grpc.ChannelCredentials): Promise<number> {
  return (await failure(echo(harness, channel))).code;
}

async function secureHarness(settings: Partial<TlsSettings> = {}, pair: Issued = server): Promise<Harness> {
  const { cert, key } = files.writePair('server', pair);
  const tls = tlsEndpoint({ certFile: cert, keyFile: key, ...settings }, { logger, nowMs: () => nowMs });
  const harness = new Harness({
    tls,
    logger,
    http: (request, response) =>
      response.end(`over TLS: ${clientConnectionOf(request.socket)?.certificateName ?? 'nobody'}`),
  });
  harness.server.unary('/t.S/Who', async (_request, call) => Buffer.from(call.certificateName ?? 'nobody'));
  const [address] = await harness.port.listen(['https://127.0.0.1:0']);
  expect(address!.url).toBe(`https://127.0.0.1:${address!.port}`);
  harness.address = `127.0.0.1:${address!.port}`;
  harness.portNumber = address!.port;
  return harness;
}

const mutual = (): Partial<TlsSettings> => ({ trustedCaFile: files.write('ca.pem', authority.cert) });

function httpsGet(url: string, presented?: Issued): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { ca, servername: 'localhost', agent: false, ...presented }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

/** Shakes hands and says what came of it, once the server has had its say, too. */
function handshake(
  harness: Harness,
  options: ConnectionOptions = {},
): Promise<{
  readonly protocol: string | null;
  readonly cipher: string;
  readonly serial: string;
  readonly application: string | false | null;
}> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect(
      {
        port: harness.portNumber,
        host: '127.0.0.1',
        ca,
        servername: 'localhost',
        ALPNProtocols: ['h2'],
        ...options,
      },
      () => {
        const { serialNumber } = socket.getPeerCertificate() as DetailedPeerCertificate;
        resolve({
          protocol: socket.getProtocol(),
          cipher: socket.getCipher().name,
          serial: serialNumber,
          application: socket.alpnProtocol,
        });
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}

test('gRPC and HTTP/1.1 share a TLS port', async () => {
  await using harness = await secureHarness();
  expect(await echo(harness, credentials())).toBe('nobody');
  expect(await httpsGet(`https://${harness.address}/`)).toBe('over TLS: nobody');
  // Whoever does not speak TLS is turned away.
  expect(await refused(harness, grpc.credentials.createInsecure())).toBe(14);
});

test('clients that could speak both are served HTTP/1.1: whoever speaks gRPC offers nothing but HTTP/2', async () => {
  await using harness = await secureHarness();
  const agreed = async (...offered: string[]) =>
    (await handshake(harness, { ALPNProtocols: offered })).application;
  expect(await agreed('h2')).toBe('h2');
  expect(await agreed('h2', 'http/1.1')).toBe('http/1.1');
  expect(await agreed('http/1.1')).toBe('http/1.1');
});

test('a plain and a TLS address are served side by side', async () => {
  await using harness = await secureHarness();
  const [plain] = await harness.port.listen(['http://127.0.0.1:0']);
  expect(await echo(harness, credentials())).toBe('nobody');
  harness.address = `127.0.0.1:${plain!.port}`;
  expect(await echo(harness, grpc.credentials.createInsecure())).toBe('nobody');
});

test('with an authority, clients need a certificate of it, and a call says whose it was', async () => {
  await using harness = await secureHarness(mutual());
  expect(await echo(harness, credentials(client))).toBe('alice');
  expect(await httpsGet(`https://${harness.address}/`, client)).toBe('over TLS: alice');
  expect(await refused(harness, credentials())).toBe(14);
  expect(await refused(harness, credentials(new TestAuthority('other').issue('alice')))).toBe(14);
  expect(await refused(harness, credentials(authority.expired('alice')))).toBe(14);
  const serving = authority.issue('alice', { usages: ['server'] });
  expect(await refused(harness, credentials(serving))).toBe(14);
  expect(harness.port.figures.handshakesFailed).toBeGreaterThanOrEqual(4);
  expect(logged.map(([message]) => message)).toContain('client connection refused');
});

test('without an authority a certificate says nothing', async () => {
  await using harness = await secureHarness();
  expect(await echo(harness, credentials(client))).toBe('nobody');
});

test('a client does not speak to a server of another authority, or of another name', async () => {
  await using harness = await secureHarness(
    {},
    authority.issue('elsewhere', { hosts: ['elsewhere.example'] }),
  );
  expect(await refused(harness, credentials())).toBe(14);
  await expect(handshake(harness, { ca: new TestAuthority('other').cert })).rejects.toThrow(/certificate/);
});

test('a client certificate must be for one of the host names allowed', async () => {
  await using harness = await secureHarness({ ...mutual(), allowedHostnames: ['good.example.com'] });
  const good = authority.issue('alice', { hosts: ['good.example.com'] });
  expect(await echo(harness, credentials(good))).toBe('alice');
  expect(await refused(harness, credentials(client))).toBe(14);
});

test('a revoked certificate is refused, and its connections end when the list comes', async () => {
  const crlFile = files.write('revoked.pem', authority.revocationListPem([]));
  const { cert, key } = files.writePair('server', server);
  const tls = tlsEndpoint({ certFile: cert, keyFile: key, crlFile, ...mutual() }, { nowMs: () => nowMs });
  await using harness = new Harness({ tls });
  const [address] = await harness.port.listen(['https://127.0.0.1:0']);
  harness.portNumber = address!.port;
  const open = tlsConnect({ port: harness.portNumber, ca, servername: 'localhost', ...client });
  const ended = new Promise((resolve) => open.on('close', resolve));
  open.on('error', () => undefined);
  await new Promise((resolve) => open.once('secureConnect', resolve));
  open.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  await new Promise((resolve) => open.once('data', resolve));
  tls.sweep();
  expect(open.destroyed).toBe(false);
  files.write('revoked.pem', authority.revocationList([client.serial]));
  nowMs += 1_000;
  tls.sweep();
  await ended;
  harness.server.unary('/t.S/Who', async () => Buffer.from('served'));
  harness.address = `127.0.0.1:${harness.portNumber}`;
  expect(await refused(harness, credentials(client))).toBe(14);
  expect(await echo(harness, credentials(authority.issue('bob')))).toBe('served');
});

/** A session of the server's, and whether the one given was taken up again. */
function resumed(
  harness: Harness,
  options: ConnectionOptions,
): Promise<{ readonly isReused: boolean; readonly session: Buffer | undefined }> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ port: harness.portNumber, ca, servername: 'localhost', ...options });
    let session: Buffer | undefined;
    socket.on('session', (bytes) => {
      session = bytes;
    });
    socket.on('error', reject);
    // Tickets come before anything else that the server says.
    socket.once('data', () => {
      resolve({ isReused: socket.isSessionReused(), session });
      socket.destroy();
    });
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  });
}

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'a %s session is taken up again until its key changes',
  async (version) => {
    await using harness = await secureHarness();
    const options = { minVersion: version, maxVersion: version } as const;
    const first = await resumed(harness, options);
    expect(first.isReused).toBe(false);
    const again = { ...options, session: first.session! };
    expect((await resumed(harness, again)).isReused).toBe(true);
    nowMs += 60 * 60 * 1000;
    expect((await resumed(harness, again)).isReused).toBe(false);
    const next = await resumed(harness, options);
    const later = { ...options, session: next.session! };
    expect((await resumed(harness, later)).isReused).toBe(true);
    files.writePair('server', authority.issue('server'));
    nowMs += 1_000;
    expect((await resumed(harness, later)).isReused).toBe(false);
  },
);

test('no session is taken up again where certificates are verified', async () => {
  await using harness = await secureHarness(mutual());
  const { session } = await resumed(harness, { ...client });
  const again = await resumed(harness, { ...client, ...(session === undefined ? {} : { session }) });
  expect(again.isReused).toBe(false);
});

test('a new certificate is served from the next handshake on; what is open stays open', async () => {
  await using harness = await secureHarness();
  const caller = new grpc.Client(harness.address, credentials(), {
    'grpc.ssl_target_name_override': 'localhost',
  });
  const call = (): Promise<string> =>
    new Promise((resolve, reject) =>
      caller.makeUnaryRequest('/t.S/Who', identity, identity, Buffer.from('x'), (error, answer) =>
        error === null ? resolve(String(answer)) : reject(error),
      ),
    );
  expect(await call()).toBe('nobody');
  const before = (await handshake(harness)).serial;
  files.writePair('server', authority.issue('server'));
  expect((await handshake(harness)).serial).toBe(before);
  nowMs += 1_000;
  const after = (await handshake(harness)).serial;
  expect(after).not.toBe(before);
  expect(await call()).toBe('nobody');
  caller.close();
  expect(logged.map(([message]) => message)).toContain('certificates reloaded');
});

test('new files that do not fit together change nothing but the log', async () => {
  await using harness = await secureHarness(mutual());
  const serial = async (): Promise<string> => (await handshake(harness, { ...client })).serial;
  const before = await serial();
  const next = authority.issue('server');
  const keep = async (): Promise<void> => {
    nowMs += 1_000;
    expect(await serial()).toBe(before);
    nowMs += 1_000;
    expect(await serial()).toBe(before);
  };
  files.write('server.pem', next.cert);
  await keep();
  files.write('server.pem', 'no certificate');
  await keep();
  files.write('server.pem', next.cert);
  files.write('ca.pem', '');
  files.write('server-key.pem', next.key);
  await keep();
  const errors = logged.filter(([message]) => message.includes('the old ones stay'));
  expect(errors).toHaveLength(3);
  files.write('ca.pem', authority.cert);
  nowMs += 1_000;
  expect(await serial()).not.toBe(before);
});

test('an authority can be exchanged: the old one’s certificates are refused', async () => {
  await using harness = await secureHarness(mutual());
  expect(await echo(harness, credentials(client))).toBe('alice');
  const next = new TestAuthority('next');
  files.write('ca.pem', authority.cert + next.cert);
  nowMs += 1_000;
  const renewed = next.issue('alice');
  expect(await echo(harness, credentials(renewed))).toBe('alice');
  expect(await echo(harness, credentials(client))).toBe('alice');
  files.write('ca.pem', next.cert);
  nowMs += 1_000;
  expect(await refused(harness, credentials(client))).toBe(14);
  expect(await echo(harness, credentials(renewed))).toBe('alice');
});

test('versions and cipher suites are those allowed', async () => {
  await using strict = await secureHarness({ minVersion: 'TLSv1.3' });
  await expect(handshake(strict, { maxVersion: 'TLSv1.2' })).rejects.toThrow(/version|alert/i);
  expect((await handshake(strict)).protocol).toBe('TLSv1.3');
  await using chosen = await secureHarness({
    maxVersion: 'TLSv1.2',
    ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  });
  expect(await handshake(chosen)).toMatchObject({
    protocol: 'TLSv1.2',
    cipher: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  });
  await expect(handshake(chosen, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })).rejects.toThrow(/handshake/);
  await expect(handshake(chosen, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })).rejects.toThrow();
});

test('files that cannot be used refuse the start and are named', () => {
  const pair = files.writePair('good', server);
  const other = files.write('other-key.pem', client.key);
  const make = (settings: Partial<TlsSettings>) => () =>
    tlsEndpoint({ certFile: pair.cert, keyFile: pair.key, ...settings });
  expect(make({})).not.toThrow();
  expect(make({ certFile: files.path('absent.pem') })).toThrow(/absent\.pem cannot be used for TLS: ENOENT/);
  expect(make({ keyFile: other })).toThrow(/good\.pem with .*other-key\.pem cannot be used/);
  expect(make({ trustedCaFile: pair.key })).toThrow(/good-key\.pem cannot be used/);
  expect(make({ crlFile: pair.cert })).toThrow(/good\.pem cannot be used/);
  const large = files.write('large.pem', authority.cert);
  truncateSync(large, 16 * 1024 * 1024 + 1);
  expect(make({ trustedCaFile: large })).toThrow(/large\.pem cannot be used.*too large/);
  const stranger = files.write('stranger.pem', new TestAuthority(authority.name).revocationList([]));
  expect(make({ ...mutual(), crlFile: stranger })).toThrow(/stranger\.pem cannot be used.*signature/);
});

test('a client that never finishes its handshake is disconnected; others are served meanwhile', async () => {
  const { cert, key } = files.writePair('server', server);
  const tls = tlsEndpoint({ certFile: cert, keyFile: key });
  await using harness = new Harness({ tls, limits: { tlsHandshakeTimeoutMs: 300 } });
  harness.server.unary('/t.S/Who', async () => Buffer.from('served'));
  const [address] = await harness.port.listen(['https://127.0.0.1:0']);
  harness.address = `127.0.0.1:${address!.port}`;
  const silent = Array.from({ length: 50 }, () => connect(address!.port, '127.0.0.1'));
  const ended = Promise.all(
    silent.map(
      (socket) => new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve)),
    ),
  );
  for (const socket of silent) socket.write(Buffer.of(0x16, 3, 1));
  expect(await echo(harness, credentials())).toBe('served');
  await ended;
});
