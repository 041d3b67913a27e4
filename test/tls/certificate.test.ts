import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { makeCertificate } from '../../src/tls/certificate.ts';
import { DerReader, natural, objectId, sequence, time, utf8String } from '../../src/tls/der.ts';
import { commonNameOf } from '../../src/tls/endpoint.ts';
import { parseRevocationList } from '../../src/tls/revocation-list.ts';
import { selfSigned, selfSignedFiles } from '../../src/tls/self-signed.ts';
import { CertificateFiles, TestAuthority } from '../support/certificates.ts';
import { openssl, skipWithoutOpenssl } from '../support/openssl.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

test('DER has its known bytes', () => {
  expect(objectId('1.2.840.10045.4.3.2').toString('hex')).toBe('06082a8648ce3d040302');
  expect(natural(Buffer.of(0x80)).toString('hex')).toBe('02020080');
  expect(natural(Buffer.of(0, 0, 1)).toString('hex')).toBe('020101');
  expect(time(Date.UTC(2049, 11, 31, 23, 59, 59)).toString('latin1')).toBe('\x17\x0d491231235959Z');
  expect(time(Date.UTC(2050, 0, 1)).toString('latin1')).toBe('\x18\x0f20500101000000Z');
  const long = sequence(utf8String('x'.repeat(300)));
  expect(long.subarray(0, 8).toString('hex')).toBe('308201300c82012c');
});

test('what was written is read again; anything else is refused, never looped over', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 20 }),
      fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true }),
      (bytes, date) => {
        const magnitude = Buffer.from(bytes);
        const ms = Math.floor(date.getTime() / 1000) * 1000;
        const reader = new DerReader(sequence(natural(magnitude), time(ms))).sequence();
        expect(BigInt(`0x${reader.integerHex()}`)).toBe(BigInt(`0x${magnitude.toString('hex')}`));
        expect(reader.time()).toBe(ms);
        expect(reader.atEnd).toBe(true);
      },
    ),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(() => parseRevocationList(Buffer.from(bytes))).toThrow();
    }),
  );
});

test('a certificate says what it was asked to, and its chain verifies', () => {
  const authority = new TestAuthority('the authority');
  const ca = new X509Certificate(authority.cert);
  const leaf = new X509Certificate(
    authority.issue('Zoë n1', {
      hosts: ['n1.example.com', '*.example.com', '10.0.0.1', '2001:db8::7', '::1'],
    }).cert,
  );
  expect(ca.ca).toBe(true);
  expect(leaf.ca).toBe(false);
  expect(leaf.checkIssued(ca)).toBe(true);
  expect(leaf.verify(ca.publicKey)).toBe(true);
  expect(leaf.checkHost('n1.example.com')).toBe('n1.example.com');
  expect(leaf.checkHost('other.example.com')).toBe('*.example.com');
  expect(leaf.checkHost('example.com')).toBeUndefined();
  for (const address of ['10.0.0.1', '2001:db8::7', '::1']) expect(leaf.checkIP(address)).toBe(address);
  expect(leaf.checkIP('10.0.0.2')).toBeUndefined();
  expect(commonNameOf(leaf)).toBe('Zoë n1');
  expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
});

test('dates beyond 2049 hold', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = { commonName: 'x', organization: 'o' };
  const notAfterMs = Date.UTC(2126, 4, 5, 6, 7, 8);
  const cert = makeCertificate({
    subject: name,
    publicKey,
    issuer: { name, privateKey },
    notBeforeMs: 0,
    notAfterMs,
  });
  expect(Date.parse(new X509Certificate(cert).validTo)).toBe(notAfterMs);
});

test('a certificate without a common name has none', () => {
  const { cert } = selfSigned({ hosts: ['localhost'], validityYears: 1, nowMs: Date.now() });
  expect(commonNameOf(new X509Certificate(cert))).toBeUndefined();
});

test.skipIf(skipWithoutOpenssl)('openssl accepts certificates, keys and lists (needs openssl)', () => {
  using files = new CertificateFiles();
  const authority = new TestAuthority();
  const [good, bad] = [authority.issue('good'), authority.issue('bad')];
  const ca = files.write('ca.pem', authority.cert);
  const list = files.write('list.pem', authority.revocationListPem([bad.serial]));
  const verify = (cert: string): string =>
    openssl(['verify', '-x509_strict', '-CAfile', ca, '-CRLfile', list, '-crl_check'], cert);
  expect(verify(good.cert)).toContain('OK');
  expect(() => verify(bad.cert)).toThrow(/revoked/);
  const own = selfSigned({ hosts: ['localhost', '::1'], validityYears: 1, nowMs: Date.now() });
  const ownFile = files.write('own.pem', own.cert);
  expect(openssl(['verify', '-x509_strict', '-CAfile', ownFile], own.cert)).toContain('OK');
  expect(openssl(['pkey', '-check', '-noout'], own.key)).toContain('valid');
  expect(openssl(['x509', '-noout', '-ext', 'subjectAltName'], own.cert)).toContain(
    'IP Address:0:0:0:0:0:0:0:1',
  );
});

test('a revocation list revokes its own issuer’s serial numbers, and no others', () => {
  const [ours, theirs] = [new TestAuthority('ours'), new TestAuthority('theirs')];
  const serial = Buffer.of(0x80, 1, 2);
  const [revoked, same, other] = [
    ours.issue('a', { serial }),
    theirs.issue('a', { serial }),
    ours.issue('b'),
  ].map(({ cert }) => new X509Certificate(cert));
  for (const file of [ours.revocationList([serial]), Buffer.from(ours.revocationListPem([serial]))]) {
    const list = parseRevocationList(file);
    expect([revoked!, same!, other!].map((cert) => list.revokes(cert))).toEqual([true, false, false]);
  }
  const both = Buffer.from(ours.revocationListPem([]) + theirs.revocationListPem([serial]));
  const list = parseRevocationList(both);
  expect([revoked!, same!, other!].map((cert) => list.revokes(cert))).toEqual([false, true, false]);
  expect(parseRevocationList(ours.revocationList([], 5_000)).nextUpdateMs).toBe(5_000);
});

test('a revocation list must be signed by the authority that it names', () => {
  const [ours, theirs, impostor] = [
    new TestAuthority('ours'),
    new TestAuthority('theirs'),
    new TestAuthority('ours'),
  ];
  const certificate = ({ cert }: TestAuthority): X509Certificate => new X509Certificate(cert);
  const bytes = ours.revocationList([Buffer.of(5)]);
  const check =
    (file: Buffer, ...authorities: readonly TestAuthority[]) =>
    () =>
      parseRevocationList(file).verify(authorities.map(certificate));
  expect(check(bytes, theirs, ours)).not.toThrow();
  // A certificate that was exchanged: the same name, two keys.
  expect(check(bytes, impostor, ours)).not.toThrow();
  expect(check(bytes, theirs)).toThrow(/none of the trusted authorities/);
  expect(check(bytes)).toThrow(/none of the trusted authorities/);
  expect(check(bytes, impostor)).toThrow(/signature/);
  const changed = Buffer.from(bytes);
  const at = changed.indexOf(Buffer.of(2, 1, 5));
  changed[at + 2] = 6;
  expect(check(changed, ours)).toThrow(/signature/);
  const both = Buffer.from(ours.revocationListPem([]) + impostor.revocationListPem([]));
  expect(check(both, ours)).toThrow(/signature/);
});

test.skipIf(skipWithoutOpenssl)('lists that openssl signed are accepted (needs openssl)', () => {
  using files = new CertificateFiles();
  const config = files.write(
    'ca.cnf',
    `[ca]\ndefault_ca=a\n[a]\ndatabase=${files.write('index.txt', '')}\ndefault_md=sha384\ndefault_crl_days=3\n`,
  );
  for (const kind of ['rsa:2048', 'ed25519']) {
    const [key, cert] = [files.path('ca-key.pem'), files.path('ca-cert.pem')];
    openssl(['req', '-x509', '-newkey', kind, '-nodes', '-keyout', key, '-out', cert, '-subj', '/CN=x'], '');
    const md = kind === 'ed25519' ? ['-md', 'null'] : [];
    const list = openssl(['ca', '-config', config, '-gencrl', '-keyfile', key, '-cert', cert, ...md], '');
    const authority = new X509Certificate(readFileSync(cert));
    expect(() => parseRevocationList(Buffer.from(list)).verify([authority])).not.toThrow();
    expect(() => parseRevocationList(Buffer.from(list)).verify([])).toThrow(/none of/);
  }
});

test('generated certificates are kept, private, and made anew once expired or half there', () => {
  const directory = mkdtempSync(join(tmpdir(), 'conclave-auto-'));
  directories.push(directory);
  const options = {
    directory: join(directory, 'auto-tls', 'client'),
    hosts: ['localhost'],
    validityYears: 2,
  };
  const first = selfSignedFiles(options);
  expect(first.isNew).toBe(true);
  expect(statSync(first.keyFile).mode & 0o777).toBe(0o600);
  expect(statSync(options.directory).mode & 0o777).toBe(0o700);
  const cert = readFileSync(first.certFile);
  const parsed = new X509Certificate(cert);
  expect(parsed.checkPrivateKey(createPrivateKey(readFileSync(first.keyFile)))).toBe(true);
  expect(Math.round((Date.parse(parsed.validTo) - Date.now()) / (365 * 864e5))).toBe(2);
  expect(selfSignedFiles(options).isNew).toBe(false);
  expect(readFileSync(first.certFile)).toEqual(cert);
  rmSync(first.keyFile);
  expect(selfSignedFiles(options).isNew).toBe(true);
  writeFileSync(first.certFile, new TestAuthority().expired('old').cert);
  expect(selfSignedFiles(options).isNew).toBe(true);
  expect(Date.parse(new X509Certificate(readFileSync(first.certFile)).validTo)).toBeGreaterThan(Date.now());
});
