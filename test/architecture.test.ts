import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize, relative } from 'node:path';
import { parseSync } from 'oxc-parser';
import { describe, expect, test } from 'vitest';

/**
 * The import table: which part of `src` may import which. A part is the longest listed prefix of a file's path.
 * Everything may import `lib`; a part may import itself.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  'core/raft': [],
  'core/mvcc': [],
  'core/lease': ['core/mvcc'],
  'core/auth': ['core/mvcc'],
  'core/watch': ['core/mvcc'],
  core: ['core/raft', 'core/mvcc', 'core/lease', 'core/auth', 'core/watch'],
  member: ['core', 'member/storage', 'member/transport', 'member/ports', 'member/observer'],
  'member/storage': ['core', 'member/ports', 'member/observer'],
  'member/transport': ['core', 'member/ports', 'member/observer', 'tls'],
  'member/ports': ['core'],
  'member/observer': [],
  'member/offline': ['core', 'member', 'member/storage', 'member/ports'],
  'kv/kv': [],
  'kv/check': ['kv/kv'],
  'kv/memory-history': ['kv/kv'],
  'kv/memory-store': ['kv/kv', 'kv/check', 'kv/memory-history'],
  'kv/memory-kv': ['kv/kv', 'kv/check', 'kv/open-calls', 'kv/memory-store'],
  'kv/open-calls': ['kv/kv'],
  'kv/etcd-access': ['kv/kv', 'client'],
  'kv/etcd-errors': ['kv/kv', 'client'],
  'kv/etcd-kv': ['kv/kv', 'kv/check', 'kv/open-calls', 'kv/etcd-access', 'kv/etcd-errors', 'client'],
  'kv/store-errors': ['kv/kv', 'member'],
  'kv/local-watch': ['kv/kv', 'kv/store-errors', 'core'],
  'kv/local-kv': [
    'kv/kv',
    'kv/check',
    'kv/open-calls',
    'kv/store-errors',
    'kv/local-watch',
    'member',
    'core',
  ],
  'kv/thread-messages': ['kv/kv'],
  'kv/serve-kv': ['kv/kv', 'kv/thread-messages'],
  'kv/auth-flag': [],
  'kv/thread-kv': ['kv/kv', 'kv/auth-flag', 'kv/check', 'kv/open-calls', 'kv/thread-messages'],
  evaluation: [],
  'config-format': [],
  service: ['kv/kv', 'evaluation', 'config-format'],
  // Run by whoever does not want to rely on the service.
  'service/audit/verify': ['kv/kv', 'service'],
  'api/errors': ['rpc'],
  'api/service-errors': ['rpc', 'service'],
  'api/etcd': ['member', 'core', 'kv', 'rpc', 'api/errors'],
  'api/identity': ['kv/kv', 'service'],
  'api/flag-scope': ['service'],
  'api/flag-time': ['evaluation'],
  'api/structs': ['evaluation', 'rpc'],
  'api/config': [
    'evaluation',
    'service',
    'kv/kv',
    'rpc',
    'api/identity',
    'api/service-errors',
    'api/flag-scope',
    'api/structs',
  ],
  'api/flagd': [
    'service',
    'evaluation',
    'kv/kv',
    'rpc',
    'api/service-errors',
    'api/config',
    'api/identity',
    'api/structs',
    'api/flag-scope',
    'api/flag-time',
  ],
  'api/http': [
    'service',
    'evaluation',
    'kv/kv',
    'api/errors',
    'api/identity',
    'api/service-errors',
    'api/flag-scope',
    'api/flag-time',
    'member/observer',
    'tls',
  ],
  tls: [],
  rpc: ['tls'],
  options: ['option-flags', 'option-settings', 'option-tls', 'option-auth', 'option-service'],
  'option-gateway': ['options', 'option-flags', 'option-settings', 'option-tls', 'option-service'],
  'option-settings': ['option-flags'],
  'option-service': ['option-settings', 'service'],
  'option-tls': ['tls'],
  'option-flags': [],
  'option-auth': [],
  client: ['rpc', 'evaluation', 'config-format'],
  openfeature: ['client', 'evaluation'],
  cli: [
    'client',
    'config-format',
    'options',
    'option-gateway',
    'member/storage',
    'member/offline',
    'member/identity',
    'rpc',
    'kv/kv',
    'kv/etcd-kv',
    'service/audit/verify',
  ],
  index: ['client', 'kv', 'evaluation', 'member', 'config-format'],
  main: ['*'],
  server: ['*'],
  'server-tls': ['*'],
  'service-host': ['*'],
  'service-messages': ['*'],
  'service-run': ['*'],
  'service-watchdog': [],
  'service-worker': ['*'],
  gateway: ['*'],
  'flagd-port': ['*'],
};

/** Packages that belong to one part of the house only. */
const CONFINED: Readonly<Record<string, readonly string[]>> = {
  'classic-level': ['member/storage'],
  msgpackr: ['lib'],
  '@grpc/grpc-js': ['rpc', 'client'],
  protobufjs: ['rpc'],
  'prom-client': ['api/http'],
  fastify: ['api/http'],
  pino: ['main', 'server', 'gateway', 'service-worker'],
  commander: ['cli'],
  'cli-progress': ['cli'],
  yaml: ['option-settings', 'service'],
  ajv: ['service', 'api/http'],
  '@fastify/swagger': ['api/http'],
  '@openfeature/server-sdk': ['openfeature'],
  'ajv-formats': ['service'],
  re2js: ['service', 'evaluation'],
  'simple-statistics': ['service'],
  '@marcbachmann/cel-js': ['service'],
  diff: ['service'],
  'dot-properties': ['service'],
  dotenv: ['service'],
};

/** What the pure core must not touch: time, chance, the network, the disk, the scheduler. */
const IMPURE =
  /\b(Date|Math\.random|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process\.(env|hrtime|nextTick))\b|\basync\b|\bawait\b|\bPromise\b/;

const ROOT = join(import.meta.dirname, '..');
const SRC = join(ROOT, 'src');

interface SourceFile {
  readonly path: string;
  readonly part: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const files = sourceFiles();

describe('imports', () => {
  test('every file belongs to a part of the table', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.filter((file) => file.part === '').map((file) => file.path)).toEqual([]);
  });

  test('follow the table', () => {
    const findings: string[] = [];
    for (const file of files) {
      for (const specifier of file.imports.filter((text) => text.startsWith('.'))) {
        const target = relative(SRC, normalize(join(SRC, dirname(file.path), specifier)));
        if (!mayImport(file.part, partOf(target))) findings.push(`${file.path} -> ${target}`);
      }
    }
    expect(findings).toEqual([]);
  });

  test('packages stay in their parts', () => {
    const findings: string[] = [];
    for (const file of files) {
      for (const specifier of file.imports) {
        const owners = CONFINED[packageName(specifier)];
        if (owners !== undefined && !owners.some((owner) => under(file.part, owner))) {
          findings.push(`${file.path} -> ${specifier}`);
        }
      }
    }
    expect(findings).toEqual([]);
  });
});

describe('the core', () => {
  const core = files.filter((file) => file.path.startsWith('core/'));

  test('is pure: no clock, no chance, no promises, no I/O', () => {
    expect(impureLines(core)).toEqual([]);
  });

  test('imports no Node module but crc32, and no package', () => {
    expect(foreignImports(core, ['node:zlib'])).toEqual([]);
  });
});

describe('the evaluation of flags', () => {
  const evaluation = files.filter((file) => file.path.startsWith('evaluation/'));

  test('is pure: no clock, no chance, no promises, no I/O', () => {
    expect(evaluation.length).toBeGreaterThan(10);
    expect(impureLines(evaluation)).toEqual([]);
  });

  test('imports no Node module, and no package but the one for regular expressions', () => {
    expect(foreignImports(evaluation, ['re2js'])).toEqual([]);
  });
});

describe('the store', () => {
  test('never reads the wall clock, which may jump', () => {
    const store = files.filter((file) => file.path.startsWith('core/') || file.path.startsWith('member/'));
    expect(store.filter((file) => /\bDate\b/.test(stripComments(file.text))).map(({ path }) => path)).toEqual(
      [],
    );
  });
});

describe('leftovers', () => {
  test('no unfinished work hides in the sources', () => {
    const marks = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
    expect(files.filter((file) => marks.test(file.text)).map((file) => file.path)).toEqual([]);
  });

  test('no test is skipped or focused', () => {
    const focus = /\b(it|test|describe)\.(only|skip|todo)\(/;
    const hits = walk(join(ROOT, 'test'))
      .filter((path) => path.endsWith('.test.ts'))
      .filter((path) => focus.test(readFileSync(path, 'utf8')));
    expect(hits).toEqual([]);
  });

  test('no default exports and no barrels', () => {
    const hits = files
      .filter((file) => /^export (default|\* from)/m.test(file.text))
      .map((file) => file.path);
    expect(hits).toEqual([]);
  });
});

function impureLines(sources: readonly SourceFile[]): string[] {
  return sources.flatMap((file) =>
    stripComments(file.text)
      .split('\n')
      .filter((line) => IMPURE.test(line))
      .map((line) => `${file.path}: ${line.trim()}`),
  );
}

function foreignImports(sources: readonly SourceFile[], allowed: readonly string[]): string[] {
  return sources.flatMap((file) =>
    file.imports
      .filter((specifier) => !specifier.startsWith('.') && !allowed.includes(specifier))
      .map((specifier) => `${file.path} -> ${specifier}`),
  );
}

function sourceFiles(): SourceFile[] {
  return walk(SRC)
    .filter((path) => path.endsWith('.ts') && !path.includes('/generated/'))
    .map((absolute) => {
      const path = relative(SRC, absolute);
      const text = readFileSync(absolute, 'utf8');
      return { path, part: partOf(path), text, imports: importsOf(path, text) };
    });
}

function importsOf(path: string, text: string): string[] {
  const { module, errors } = parseSync(path, text);
  expect(errors).toEqual([]);
  const fromStatements = module.staticImports.map((item) => item.moduleRequest.value);
  const fromExports = module.staticExports.flatMap((item) =>
    item.entries.flatMap((entry) => (entry.moduleRequest === null ? [] : [entry.moduleRequest.value])),
  );
  return [...fromStatements, ...fromExports];
}

function partOf(path: string): string {
  const parts = Object.keys(MAY_IMPORT).filter(
    (part) => path === `${part}.ts` || path.startsWith(`${part}/`),
  );
  return parts.sort((left, right) => right.length - left.length)[0] ?? '';
}

function mayImport(from: string, to: string): boolean {
  if (from === to || to === 'lib' || to.startsWith('lib/')) return true;
  const allowed = MAY_IMPORT[from] ?? [];
  return allowed.includes('*') || allowed.some((part) => under(to, part));
}

function under(part: string, owner: string): boolean {
  return part === owner || part.startsWith(`${owner}/`);
}

function packageName(specifier: string): string {
  if (specifier.startsWith('.') || specifier.startsWith('node:') || builtinModules.includes(specifier))
    return '';
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function stripComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
}

function walk(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? walk(path) : [path];
  });
}
