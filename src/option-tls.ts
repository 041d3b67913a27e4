import { isIP } from 'node:net';
import { CIPHER_SUITES, cipherList, DEFAULT_CIPHERS } from './tls/ciphers.ts';

/** Where a side's certificate comes from. */
export type CertificateSource =
  | {
      readonly type: 'files';
      readonly certFile: string;
      readonly keyFile: string;
      /** What connections to other members present; null = the same. */
      readonly dialCertFile: string | null;
      readonly dialKeyFile: string | null;
    }
  /** Made by the member itself and kept in its data directory. */
  | { readonly type: 'generated'; readonly validityYears: number };

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** How `https` addresses of one side, the clients' or the peers', are served. */
export interface TlsOptions {
  readonly source: CertificateSource;
  readonly trustedCaFile: string | null;
  readonly crlFile: string | null;
  /** Asked for by name, not only implied by `trustedCaFile`. */
  readonly clientCertAuth: boolean;
  readonly allowedCommonNames: readonly string[];
  readonly allowedHostnames: readonly string[];
  readonly skipClientSanVerification: boolean;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** OpenSSL's cipher list. */
  readonly ciphers: string;
}

/** The settings as this file needs them: what was given, with what to call its origin. */
export interface TlsSettingSource {
  given(name: string): { readonly label: string; readonly text: string } | null;
  text(name: string): string;
  boolean(name: string): boolean;
  integer(name: string, bounds: { readonly min: number; readonly max: number }): number;
  /** An error that says so. */
  refuse(detail: string): Error;
}

/** The flags of one side. */
const SIDES = {
  client: {
    prefix: '',
    auto: 'auto-tls',
    crl: 'client-crl-file',
    commonNames: null,
    hostnames: 'client-cert-allowed-hostname',
    dial: null,
  },
  peer: {
    prefix: 'peer-',
    auto: 'peer-auto-tls',
    crl: 'peer-crl-file',
    commonNames: 'peer-cert-allowed-cn',
    hostnames: 'peer-cert-allowed-hostname',
    dial: 'peer-client-',
  },
} as const;

const VALIDITY_YEARS = { min: 1, max: 100 } as const;

/**
 * The TLS options of one side; null when nothing was given for it. A certificate of files wins over a generated one.
 *
 * @param urls those that the side listens on
 * @throws what `refuse` makes, for options that contradict each other or that `urls` cannot do without
 */
export function tlsOptions(
  side: 'client' | 'peer',
  settings: TlsSettingSource,
  urls: readonly string[],
): TlsOptions | null {
  const source = certificateSource(side, settings);
  const { prefix, auto, crl, commonNames, hostnames } = SIDES[side];
  const trustedCaFile = file(settings, `${prefix}trusted-ca-file`);
  const clientCertAuth = settings.boolean(`${prefix}client-cert-auth`);
  if (source === null) {
    const https = urls.find((url) => url.startsWith('https:'));
    const need = `--${prefix}cert-file and --${prefix}key-file, or --${auto}`;
    if (https !== undefined) throw settings.refuse(`${https} needs ${need}`);
    if (clientCertAuth) throw settings.refuse(`--${prefix}client-cert-auth needs ${need}`);
    if (trustedCaFile === null) return null;
    throw settings.refuse(`--${prefix}trusted-ca-file needs ${need}`);
  }
  if (clientCertAuth && trustedCaFile === null) {
    throw settings.refuse(
      `--${prefix}client-cert-auth needs --${prefix}trusted-ca-file: whose certificates?`,
    );
  }
  const allowedCommonNames = commonNames === null ? [] : list(settings, commonNames);
  const allowedHostnames = list(settings, hostnames);
  if (allowedCommonNames.length > 0 && allowedHostnames.length > 0) {
    throw settings.refuse(`--${commonNames ?? ''} and --${hostnames} exclude each other`);
  }
  const crlFile = file(settings, crl);
  const rules = { crlFile, allowedCommonNames, allowedHostnames };
  if (
    trustedCaFile === null &&
    (crlFile !== null || allowedCommonNames.length + allowedHostnames.length > 0)
  ) {
    throw settings.refuse(
      `rules for certificates need --${prefix}trusted-ca-file, which says whose they are`,
    );
  }
  return {
    source,
    trustedCaFile,
    clientCertAuth,
    ...rules,
    skipClientSanVerification: side === 'client' || settings.boolean('peer-skip-client-san-verification'),
    ...protocol(settings),
  };
}

function certificateSource(side: 'client' | 'peer', settings: TlsSettingSource): CertificateSource | null {
  const { prefix, auto, dial } = SIDES[side];
  const pair = (start: string): { readonly cert: string; readonly key: string } | null => {
    const cert = file(settings, `${start}cert-file`);
    const key = file(settings, `${start}key-file`);
    if (cert !== null && key !== null) return { cert, key };
    if (cert === null && key === null) return null;
    throw settings.refuse(`--${start}cert-file and --${start}key-file are needed together`);
  };
  const serve = pair(prefix);
  const dialed = dial === null ? null : pair(dial);
  if (serve !== null) {
    return {
      type: 'files',
      certFile: serve.cert,
      keyFile: serve.key,
      dialCertFile: dialed?.cert ?? null,
      dialKeyFile: dialed?.key ?? null,
    };
  }
  if (dialed !== null) throw settings.refuse(`--${dial ?? ''}cert-file needs --${prefix}cert-file`);
  if (!settings.boolean(auto)) return null;
  return { type: 'generated', validityYears: settings.integer('self-signed-cert-validity', VALIDITY_YEARS) };
}

function protocol(settings: TlsSettingSource): Pick<TlsOptions, 'minVersion' | 'maxVersion' | 'ciphers'> {
  const minVersion = version(settings, 'tls-min-version') ?? 'TLSv1.2';
  const maxVersion = version(settings, 'tls-max-version') ?? 'TLSv1.3';
  if (minVersion > maxVersion) {
    throw settings.refuse('--tls-min-version is later than --tls-max-version');
  }
  const suites = list(settings, 'cipher-suites');
  if (suites.length === 0) return { minVersion, maxVersion, ciphers: DEFAULT_CIPHERS };
  if (minVersion === 'TLSv1.3') {
    throw settings.refuse(
      '--cipher-suites: the suites of TLS 1.3 cannot be chosen, and nothing else is allowed',
    );
  }
  const ciphers = cipherList(suites);
  if (ciphers !== null) return { minVersion, maxVersion, ciphers };
  const { label, text } = settings.given('cipher-suites')!;
  throw settings.refuse(`${label}: '${text}' names a suite that is none of ${CIPHER_SUITES.join(', ')}`);
}

function version(settings: TlsSettingSource, name: string): TlsVersion | null {
  const setting = settings.given(name);
  if (setting === null) return null;
  if (setting.text === 'TLS1.2') return 'TLSv1.2';
  if (setting.text === 'TLS1.3') return 'TLSv1.3';
  throw settings.refuse(`${setting.label}: '${setting.text}' is none of TLS1.2, TLS1.3`);
}

function file(settings: TlsSettingSource, name: string): string | null {
  return settings.given(name)?.text ?? null;
}

function list(settings: TlsSettingSource, name: string): readonly string[] {
  const text = settings.given(name)?.text ?? '';
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** Whether a URL's host surely is this machine: nobody else can listen in. */
export function isLoopback(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
  return host === 'localhost' || (isIP(host) === 4 && host.startsWith('127.')) || host === '::1';
}
