/**
 * HPACK's Huffman code (RFC 7541, appendix B). The code is canonical, so the lengths of the 257 codes, in order of
 * their symbols, say everything.
 */
const CODE_BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const END_SYMBOL = 256;
const BITS_MAX = 30;
const BYTE_VALUES = 256;

/** An entry of the table: the next state, and up to two symbols that the byte completes. */
const STATE_MASK = 0xff;
const COUNT_SHIFT = 8;
const FIRST_SHIFT = 10;
const SECOND_SHIFT = 18;
const FAILED = -1;

/** Built by its first use: it takes a few milliseconds, which a start need not wait for. */
let machine: Machine | null = null;

/** The text, one character a byte, that Huffman-coded bytes stand for; null when they are not well-formed. */
export function huffmanText(source: Buffer, start = 0, end = source.length): string | null {
  machine ??= buildMachine();
  const { transitions, accepting } = machine;
  let state = 0;
  let text = '';
  for (let at = start; at < end; at++) {
    const entry = transitions[state * BYTE_VALUES + source[at]!]!;
    if (entry === FAILED) return null;
    const count = (entry >> COUNT_SHIFT) & 3;
    if (count > 0) text += String.fromCharCode((entry >> FIRST_SHIFT) & 0xff);
    if (count > 1) text += String.fromCharCode((entry >> SECOND_SHIFT) & 0xff);
    state = entry & STATE_MASK;
  }
  return accepting[state] === 1 ? text : null;
}

interface Machine {
  readonly transitions: Int32Array;
  readonly accepting: Uint8Array;
}

interface Node {
  /** Of the inner nodes: their number, which is the state. */
  readonly state: number;
  readonly next: (Node | number)[];
}

/**
 * The code tree as a machine that takes a byte at a time. A state is an inner node of the tree; there are 256 of
 * them. The shortest code has five bits, so that a byte completes two symbols at most.
 */
function buildMachine(): Machine {
  const nodes = buildTree();
  const table = new Int32Array(nodes.length * BYTE_VALUES);
  for (const node of nodes) {
    for (let byte = 0; byte < BYTE_VALUES; byte++) {
      table[node.state * BYTE_VALUES + byte] = transition(nodes[0]!, node, byte);
    }
  }
  return { transitions: table, accepting: acceptingStates(nodes) };
}

function transition(root: Node, from: Node, byte: number): number {
  let node = from;
  let count = 0;
  let entry = 0;
  for (let shift = 7; shift >= 0; shift--) {
    const next = node.next[(byte >> shift) & 1]!;
    if (typeof next !== 'number') {
      node = next;
      continue;
    }
    if (next === END_SYMBOL) return FAILED;
    entry |= next << (count === 0 ? FIRST_SHIFT : SECOND_SHIFT);
    count += 1;
    node = root;
  }
  return entry | (count << COUNT_SHIFT) | node.state;
}

/** A text may end in less than a byte of ones (RFC 7541, 5.2). */
function acceptingStates(nodes: readonly Node[]): Uint8Array {
  const states = new Uint8Array(nodes.length);
  let node: Node | number = nodes[0]!;
  for (let bits = 0; bits < 8 && typeof node !== 'number'; bits++) {
    states[node.state] = 1;
    node = node.next[1]!;
  }
  return states;
}

function buildTree(): readonly Node[] {
  const nodes: Node[] = [{ state: 0, next: [] }];
  let code = 0;
  for (let bits = 1; bits <= BITS_MAX; bits++) {
    code *= 2;
    for (const [symbol, length] of CODE_BITS.entries()) {
      if (length !== bits) continue;
      plant(nodes, { code, bits, symbol });
      code += 1;
    }
  }
  return nodes;
}

function plant(
  nodes: Node[],
  leaf: { readonly code: number; readonly bits: number; readonly symbol: number },
): void {
  let node = nodes[0]!;
  for (let shift = leaf.bits - 1; shift > 0; shift--) {
    const bit = (leaf.code >> shift) & 1;
    let next = node.next[bit];
    if (next === undefined) {
      next = { state: nodes.length, next: [] };
      nodes.push(next);
      node.next[bit] = next;
    }
    node = next as Node;
  }
  node.next[leaf.code & 1] = leaf.symbol;
}
