import { createRequire } from 'node:module';
import type * as yaml from 'yaml';
import { StoreError } from './lib/errors.ts';
import { SERVER_FLAGS, type ServerFlag } from './option-flags.ts';

/** Where options come from besides the command line. */
export interface OptionSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the file of `--config-file` as text; whatever it throws becomes a bad option. */
  readonly readFile: (path: string) => string;
}

/** The options of one command. */
export interface FlagTable {
  /** As in `conclave server`. */
  readonly command: string;
  readonly flags: readonly ServerFlag[];
  /** Those that can only ask for what always holds. */
  readonly fixed: ReadonlyMap<string, { readonly only: string; readonly reason: string }>;
  /** Those that others know and this version has not, with what to tell who sets one. */
  readonly unsupported: ReadonlyMap<string, string>;
  readonly unsupportedPrefix: string;
  /** Variables of the same prefix that are for other commands. */
  readonly otherVariables: ReadonlySet<string>;
}

/**
 * What is set, wherever it is set. A flag (`--name n1`, `--name=n1`, one dash as well) wins over the environment
 * (`CONCLAVE_NAME`), which wins over the YAML file (`name: n1`).
 *
 * @throws StoreError `bad-options` for what is not known, naming it and its source
 */
export function readSettings(table: FlagTable, argv: readonly string[], sources: OptionSources): Settings {
  const flags = readArgv(table, argv);
  const environment = readEnvironment(table, sources.env);
  const configFile = flags.get('config-file') ?? environment.get('config-file');
  const file =
    configFile === undefined
      ? new Map<string, Setting>()
      : readConfigFile(table, configFile, sources.readFile);
  return new Settings(table, [flags, environment, file]);
}

/** What went wrong, in one sentence, without the code that precedes it in an error's message. */
export function badOptions(detail: string, cause?: unknown): StoreError {
  return new StoreError('bad-options', detail, cause === undefined ? undefined : { cause });
}

/** A value and what a person calls the place it was set in: `--name`, `CONCLAVE_NAME` or `name in conclave.yaml`. */
export interface Setting {
  readonly label: string;
  readonly text: string;
}
type Source = ReadonlyMap<string, Setting>;

/** Refuses what is unknown or not built; a fixed flag passes when it asks for what always holds. */
function admit(table: FlagTable, name: string, setting: Setting): 'take' | 'drop' {
  if (flagOf(table, name) !== undefined) return 'take';
  const fixed = table.fixed.get(name);
  if (fixed !== undefined) {
    if (setting.text === fixed.only) return 'drop';
    throw badOptions(`${setting.label}=${setting.text} is not supported by this version: ${fixed.reason}`);
  }
  if (table.unsupported.has(name) || name.startsWith(table.unsupportedPrefix)) {
    const hint = table.unsupported.get(name) ?? '';
    throw badOptions(`${setting.label} is not supported by this version${hint === '' ? '' : `: ${hint}`}`);
  }
  throw badOptions(`unknown option ${setting.label}; 'conclave ${table.command} --help' lists what there is`);
}

function isKnown(table: FlagTable, name: string): boolean {
  return flagOf(table, name) !== undefined || table.fixed.has(name) || table.unsupported.has(name);
}

function flagOf({ flags }: FlagTable, name: string): ServerFlag | undefined {
  return flags.find((flag) => flag.name === name);
}

// ---- command line -------------------------------------------------------------------------------------------

function readArgv(table: FlagTable, argv: readonly string[]): Source {
  const found = new Map<string, Setting>();
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at]!;
    const match = /^--?([a-z0-9][a-z0-9-]*)(?:=(.*))?$/s.exec(word);
    if (match === null) throw badOptions(`'${word}' is not a flag; every option starts with --`);
    const name = match[1]!;
    const label = `--${name}`;
    let text = match[2];
    if (text === undefined) {
      // A boolean flag never takes the next word, as in etcd: `--force-new-cluster --name n1`.
      if (takesNoWord(table, name)) text = 'true';
      else if (flagOf(table, name) !== undefined) {
        at += 1;
        text = argv[at];
        if (text === undefined) throw badOptions(`${label} needs a value`);
      } else text = '';
    }
    if (admit(table, name, { label, text }) === 'drop') continue;
    if (found.has(name)) throw badOptions(`${label} is given twice`);
    found.set(name, { label, text });
  }
  return found;
}

function takesNoWord(table: FlagTable, name: string): boolean {
  return flagOf(table, name)?.kind === 'boolean' || table.fixed.has(name);
}

// ---- environment --------------------------------------------------------------------------------------------

const ENVIRONMENT_PREFIX = 'CONCLAVE_';

/** What container platforms set for every service whose name starts with ours (`CONCLAVE_PORT_2379_TCP_ADDR`). */
const SERVICE_LINK =
  /^CONCLAVE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

function readEnvironment(table: FlagTable, env: OptionSources['env']): Source {
  const found = new Map<string, Setting>();
  for (const label of Object.keys(env).sort()) {
    const text = env[label];
    if (!label.startsWith(ENVIRONMENT_PREFIX) || text === undefined) continue;
    const name = label.slice(ENVIRONMENT_PREFIX.length).toLowerCase().replaceAll('_', '-');
    if (table.otherVariables.has(label) || (SERVICE_LINK.test(label) && !isKnown(table, name))) continue;
    if (admit(table, name, { label, text }) === 'take') found.set(name, { label, text });
  }
  return found;
}

// ---- file ---------------------------------------------------------------------------------------------------

function readConfigFile(table: FlagTable, path: Setting, readFile: OptionSources['readFile']): Source {
  const document = loadYaml(path, readFile);
  const found = new Map<string, Setting>();
  if (document === null || document === undefined) return found;
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw badOptions(`${path.label}: ${path.text} must hold 'option: value' lines`);
  }
  for (const [name, value] of Object.entries(document)) {
    const label = `'${name}' in ${path.text}`;
    if (name === 'config-file') throw badOptions(`${label}: a file cannot name another file`);
    const text = scalarText(value);
    if (text === null)
      throw badOptions(`${label} must be a text, a number, true or false, or a list of texts`);
    if (admit(table, name, { label, text }) === 'take') found.set(name, { label, text });
  }
  return found;
}

function loadYaml(path: Setting, readFile: OptionSources['readFile']): unknown {
  let text: string;
  try {
    text = readFile(path.text);
  } catch (cause) {
    throw badOptions(`${path.label}: cannot read ${path.text}: ${reasonOf(cause)}`, cause);
  }
  try {
    // Most servers have no such file, and need not wait for what reads it to be loaded.
    const { parseDocument } = createRequire(import.meta.url)('yaml') as typeof yaml;
    const document = parseDocument(text, { stringKeys: true });
    // What it only warns of, such as an unknown tag, it would take for something else than was meant.
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem !== undefined) throw problem;
    return document.toJS() as unknown;
  } catch (cause) {
    throw badOptions(`${path.label}: ${path.text} is not YAML: ${reasonOf(cause)}`, cause);
  }
}

function scalarText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(',');
  return null;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.split('\n')[0]! : String(cause);
}

// ---- typed access -------------------------------------------------------------------------------------------

/** The sources in order of precedence; answers typed values, the flag table's default when no source has one. */
export class Settings {
  readonly #table: FlagTable;
  readonly #sources: readonly Source[];

  constructor(table: FlagTable, sources: readonly Source[]) {
    this.#table = table;
    this.#sources = sources;
  }

  /** Null when no source sets it; an empty text counts as not set, as in etcd. */
  given(name: string): Setting | null {
    for (const source of this.#sources) {
      const setting = source.get(name);
      if (setting !== undefined && setting.text !== '') return setting;
    }
    return null;
  }

  or(name: string): Setting {
    return this.given(name) ?? { label: `--${name}`, text: defaultOf(this.#table, name) };
  }

  text(name: string): string {
    return this.or(name).text;
  }

  boolean(name: string): boolean {
    const { label, text } = this.or(name);
    if (text === 'true' || text === '1') return true;
    if (text === 'false' || text === '0') return false;
    throw badOptions(`${label}: '${text}' is neither true nor false`);
  }

  integer(name: string, bounds: { readonly min: number; readonly max: number }): number {
    const { label, text } = this.or(name);
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(value)) throw badOptions(`${label}: '${text}' is not a whole number`);
    if (value < bounds.min || value > bounds.max) {
      throw badOptions(`${label}: ${text} is outside ${bounds.min} to ${bounds.max}`);
    }
    return value;
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const { label, text } = this.or(name);
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw badOptions(`${label}: '${text}' is none of ${values.join(', ')}`);
    return value;
  }

  urls(name: string): readonly string[] {
    return urlList(this.or(name));
  }

  refuse(detail: string): StoreError {
    return badOptions(detail);
  }
}

/** Of an option that the command has not, what a server without it does. */
function defaultOf(table: FlagTable, name: string): string {
  return (flagOf(table, name) ?? SERVER_FLAGS.find((flag) => flag.name === name))!.default;
}

// ---- addresses ----------------------------------------------------------------------------------------------

/** Comma-separated; empty text gives an empty list. @throws StoreError `bad-options` */
export function urlList({ label, text }: Setting): readonly string[] {
  if (text.trim() === '') return [];
  const urls = text.split(',').map((part) => parseUrl(part.trim(), label));
  const twice = urls.find((url, at) => urls.indexOf(url) !== at);
  if (twice !== undefined) throw badOptions(`${label}: ${twice} is given twice`);
  return urls;
}

/** Scheme, host and port of `http://host:port`. @throws StoreError `bad-options` */
export function parseUrl(text: string, label: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !text.includes('://'))
    throw badOptions(`${label}: '${text}' is not of the form http://host:port`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw badOptions(`${label}: '${text}': ${url.protocol}// is not supported; use http:// or https://`);
  }
  if (
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== '' ||
    url.username !== '' ||
    url.password !== ''
  ) {
    throw badOptions(`${label}: '${text}' must hold nothing but scheme, host and port`);
  }
  // URL drops a scheme's usual port, so the text itself tells whether one was written.
  if (!/:\d+\/?$/.test(text)) throw badOptions(`${label}: '${text}' has no port`);
  return `${url.protocol}//${url.hostname}:${url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port}`;
}
