import type { Compare, TxnOp, TxnOptions } from '../client/types.ts';
import { bytes, keyRange, leaseId, naturalNumber, UsageError } from './arguments.ts';

/**
 * Transactions as text, in the form of etcd's tools: comparisons, an empty line, what to do when all hold, an empty
 * line, what to do otherwise. Words may be quoted as in JSON.
 *
 *     mod("stock") > "0"
 *
 *     put stock 41
 *     put order/7 "one apple"
 *
 *     get stock
 *
 * @throws UsageError naming the line
 */
export function parseTxn(text: string): TxnOptions {
  const sections: Line[][] = [[]];
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line !== '') sections.at(-1)!.push({ number: at + 1, text: line });
    else if (sections.length < 3) sections.push([]);
  }
  const [compare = [], success = [], failure = []] = sections;
  return { compare: compare.map(parseCompare), success: success.map(parseOp), failure: failure.map(parseOp) };
}

interface Line {
  readonly number: number;
  readonly text: string;
}

const TARGETS: Readonly<Record<string, Compare['target']>> = {
  c: 'create',
  create: 'create',
  m: 'mod',
  mod: 'mod',
  val: 'value',
  value: 'value',
  ver: 'version',
  version: 'version',
  lease: 'lease',
};
const RESULTS: Readonly<Record<string, Compare['result']>> = {
  '=': 'equal',
  '!=': 'not-equal',
  '>': 'greater',
  '<': 'less',
};

function parseCompare(line: Line): Compare {
  const match = /^(\w+)\s*\(\s*("(?:[^"\\]|\\.)*"|[^)"]+?)\s*\)\s*(!=|=|<|>)\s*(.+)$/.exec(line.text);
  const target = match === null ? undefined : TARGETS[match[1]!];
  if (match === null || target === undefined) {
    throw wrong(line, 'is not a comparison such as mod("key") > "0" (mod, create, version, value or lease)');
  }
  const base = { key: bytes(word(line, match[2]!)), result: RESULTS[match[3]!]! };
  const operand = word(line, match[4]!.trim());
  if (target === 'value') return { ...base, target, value: bytes(operand) };
  try {
    if (target === 'lease') return { ...base, target, lease: leaseId(operand) };
    return { ...base, target, number: naturalNumber(operand) };
  } catch {
    throw wrong(line, `compares with '${operand}', which is not a number`);
  }
}

function parseOp(line: Line): TxnOp {
  const words = (line.text.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []).map((part) => ({
    part,
    text: word(line, part),
  }));
  const positional: string[] = [];
  const flags = new Map<string, string>();
  for (const { part, text } of words.slice(1)) {
    // A quoted word is never a flag.
    const flag = /^--([a-z-]+)(?:=(.*))?$/.exec(part);
    if (flag === null) positional.push(text);
    else flags.set(flag[1]!, flag[2] ?? 'true');
  }
  return buildOp(line, { verb: words[0]!.text, positional, flags });
}

interface OpWords {
  readonly verb: string;
  readonly positional: readonly string[];
  readonly flags: ReadonlyMap<string, string>;
}

const FLAGS: Readonly<Record<string, readonly string[]>> = {
  get: ['prefix', 'from-key', 'limit', 'keys-only', 'count-only'],
  put: ['lease', 'prev-kv', 'ignore-value', 'ignore-lease'],
  del: ['prefix', 'from-key', 'prev-kv'],
};

function buildOp(line: Line, { verb, positional, flags }: OpWords): TxnOp {
  const known = FLAGS[verb];
  if (known === undefined) throw wrong(line, `begins with '${verb}' instead of get, put or del`);
  const unknown = [...flags.keys()].find((flag) => !known.includes(flag));
  if (unknown !== undefined) throw wrong(line, `has the unknown flag --${unknown}`);
  const [key, second] = positional;
  if (key === undefined) throw wrong(line, 'names no key');
  if (positional.length > 2) throw wrong(line, 'has too many words; quote what contains spaces');
  const is = (flag: string): boolean => flags.get(flag) === 'true';
  if (verb === 'put') {
    const ignoreValue = is('ignore-value');
    if (second === undefined && !ignoreValue) throw wrong(line, 'puts no value');
    const common = { prevKv: is('prev-kv'), ignoreValue, ignoreLease: is('ignore-lease') };
    const lease = flags.has('lease')
      ? { lease: parsed(line, 'lease', () => leaseId(flags.get('lease')!)) }
      : {};
    return { type: 'put', key: bytes(key), value: bytes(second ?? ''), ...lease, ...common };
  }
  const range = parsed(line, 'range', () =>
    keyRange(key, second, { prefix: is('prefix'), fromKey: is('from-key') }),
  );
  if (verb === 'del') return { type: 'delete', ...range, prevKv: is('prev-kv') };
  const limit = parsed(line, 'limit', () => naturalNumber(flags.get('limit') ?? '0'));
  return { type: 'range', ...range, limit, keysOnly: is('keys-only'), countOnly: is('count-only') };
}

function parsed<T>(line: Line, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw wrong(line, `has a wrong ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function word(line: Line, part: string): string {
  if (!part.startsWith('"')) return part;
  try {
    return JSON.parse(part) as string;
  } catch {
    throw wrong(line, `has a malformed quoted word ${part}`);
  }
}

function wrong({ number, text }: Line, problem: string): UsageError {
  return new UsageError(`line ${number} ('${text}') ${problem}`);
}
