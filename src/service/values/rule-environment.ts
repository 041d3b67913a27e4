import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { assert } from '../../lib/assert.ts';
import type { Json } from '../model.ts';
import { LinearRegex } from './linear-regex.ts';
import type { StepMeter } from './step-meter.ts';

/** Parts of one expression, and how deep they nest. */
export const RULE_NODES_MAX = 1_000;
export const RULE_DEPTH_MAX = 50;
const LITERAL_ITEMS_MAX = 100;

/** An expression that was parsed and checked. Its outcome is a CEL value. @throws StepLimitError, or CEL's errors */
export type Expression = (values: ReadonlyMap<string, Json>) => unknown;

/**
 * CEL over `config`, a map from key to value, in counted steps. Numbers of values are CEL's doubles; whole numbers in
 * expressions are its ints, and the two mix. `matches` takes patterns in RE2's syntax, in linear time.
 */
export class RuleEnvironment {
  readonly #environment: Environment;
  readonly #meter: StepMeter;
  /** What has to be paid for more than the step of looking at it. */
  readonly #charges = new WeakMap<object, Charge>();
  readonly #patterns = new Map<string, LinearRegex>();

  constructor(meter: StepMeter) {
    this.#meter = meter;
    this.#environment = new Environment({
      homogeneousAggregateLiterals: false,
      limits: {
        maxAstNodes: RULE_NODES_MAX,
        maxDepth: RULE_DEPTH_MAX,
        maxListElements: LITERAL_ITEMS_MAX,
        maxMapEntries: LITERAL_ITEMS_MAX,
        maxCallArguments: 8,
      },
    }).registerVariable('config', 'map<string, dyn>');
    this.#mixNumbers();
    this.#environment.registerFunction(`string.${MATCHES}(string): bool`, (text: string, pattern: string) =>
      this.#patternOf(pattern).test(text),
    );
    this.#countSteps();
  }

  /** @throws PatternError, or CEL's errors about the expression */
  parse(text: string): Expression {
    const parsed = this.#environment.parse(text);
    this.#prepare(parsed.ast);
    const { valid, type, error } = parsed.check();
    if (!valid) throw error!;
    if (type !== 'bool' && type !== 'dyn') throw new Error(`it gives ${type}, not true or false`);
    return (config) => parsed({ config }) as unknown;
  }

  /** CEL has no arithmetic between int and double; values of JSON are of one type of number only. */
  #mixNumbers(): void {
    const operations: Readonly<Record<string, (left: number, right: number) => number>> = {
      '+': (left, right) => left + right,
      '-': (left, right) => left - right,
      '*': (left, right) => left * right,
      '/': (left, right) => left / right,
      '%': (left, right) => left % right,
    };
    for (const [sign, operation] of Object.entries(operations)) {
      const mixed = (left: unknown, right: unknown): number => operation(Number(left), Number(right));
      this.#environment.registerOperator(`double ${sign} int: double`, mixed);
      this.#environment.registerOperator(`int ${sign} double: double`, mixed);
    }
    this.#environment.registerOperator('double % double: double', operations['%']!);
  }

  /**
   * Gets hold of the evaluator, which passes itself to macros, and counts whatever it runs. Errors are kept aside by
   * the operators that may not need them; that the steps are used up is none of those.
   */
  #countSteps(): void {
    let counted = 0;
    const hook = (evaluator: Evaluator): void => {
      const run = evaluator.run.bind(evaluator);
      evaluator.run = (node, context) => {
        counted += 1;
        this.#meter.charge(1);
        const value = run(node, context);
        this.#meter.charge(costOf(value, { charge: this.#charges.get(node), limit: this.#meter.left }));
        return value;
      };
      evaluator.tryEval = (node, context) => {
        try {
          return evaluator.run(node, context);
        } catch (error) {
          this.#meter.charge(ERROR_STEPS);
          return error;
        }
      };
    };
    this.#environment.registerFunction('conclave_hook(ast): bool', () => ({
      typeCheck: (checker: { getType(name: string): unknown }) => checker.getType('bool'),
      evaluate: (evaluator: Evaluator) => {
        hook(evaluator);
        return true;
      },
    }));
    this.#meter.run(100, () => {
      this.#environment.evaluate('conclave_hook(true)', { config: new Map() });
      this.#environment.evaluate('[1, 2].all(x, x < 3)', { config: new Map() });
    });
    assert(counted >= 4, 'the steps of rules are not counted');
  }

  /** Notes what is dear, and puts our own `matches` in the place of one that backtracks. */
  #prepare(node: ASTNode): void {
    if (isCall(node)) this.#prepareCall(node);
    else if (COMPARING.has(node.op))
      for (const operand of nodesIn(node.args)) this.#charges.set(operand, 'whole');
    for (const part of nodesIn(node.args)) this.#prepare(part);
  }

  #prepareCall(node: CallNode): void {
    const [name] = node.args;
    if (name === 'conclave_hook' || name === MATCHES) throw new Error(`there is no function ${name}`);
    const isLoop = node.op === 'rcall' && LOOPS.has(name);
    for (const operand of nodesIn(node.args)) this.#charges.set(operand, isLoop ? 'names' : 'whole');
    if (node.op !== 'rcall' || name !== 'matches') return;
    const [pattern] = nodesIn(node.args.slice(2));
    if (pattern?.op === 'value' && typeof pattern.args === 'string') this.#patternOf(pattern.args);
    (node.args as unknown[])[0] = MATCHES;
  }

  #patternOf(text: string): LinearRegex {
    const known = this.#patterns.get(text);
    if (known !== undefined) return known;
    if (this.#patterns.size === PATTERNS_KEPT) this.#patterns.clear();
    const pattern = new LinearRegex(text, this.#meter);
    this.#patterns.set(text, pattern);
    return pattern;
  }
}

/** What the library's evaluator is to a macro. */
interface Evaluator {
  run: (node: object, context: unknown) => unknown;
  tryEval: (node: object, context: unknown) => unknown;
}

/** `whole`: all that is in the value is gone through; `names`: the names of its members. */
type Charge = 'whole' | 'names';
type CallNode = Extract<ASTNode, { op: 'call' | 'rcall' }>;

const MATCHES = 'conclave_matches';
const LOOPS = new Set(['all', 'exists', 'exists_one', 'map', 'filter']);
const COMPARING = new Set(['==', '!=', 'in']);
const PATTERNS_KEPT = 200;
/** An error with its message and trace. */
const ERROR_STEPS = 100;
/** So many characters, or items that are not gone through, cost a step. */
const PARTS_PER_STEP = 16;

function isCall(node: ASTNode): node is CallNode {
  return node.op === 'call' || node.op === 'rcall';
}

function nodesIn(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(nodesIn);
  const isNode = typeof args === 'object' && args !== null && 'op' in args;
  return isNode ? [args as ASTNode] : [];
}

function costOf(
  value: unknown,
  { charge, limit }: { readonly charge: Charge | undefined; readonly limit: number },
): number {
  if (typeof value === 'string') return value.length / PARTS_PER_STEP;
  if (typeof value !== 'object' || value === null) return 0;
  if (charge === 'whole') return sizeOf(value, limit);
  if (Array.isArray(value)) return value.length / PARTS_PER_STEP;
  return charge === 'names' ? membersOf(value).length : 0;
}

/** Goes no further than the limit: parts of what a rule has made may be in it any number of times. */
function sizeOf(value: object, limit: number): number {
  let size = 0;
  const waiting: unknown[] = [value];
  while (waiting.length > 0 && size <= limit) {
    const part = waiting.pop();
    size += 1;
    if (typeof part === 'string') size += part.length / PARTS_PER_STEP;
    if (typeof part !== 'object' || part === null) continue;
    for (const member of membersOf(part)) waiting.push(member);
  }
  return size;
}

function membersOf(value: object): readonly unknown[] {
  if (Array.isArray(value)) return value;
  return value instanceof Map ? [...value.values()] : Object.values(value);
}
