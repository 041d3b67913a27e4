import { type AuditFilter, matchesSubject, type Subject, subjectOf, timesOf } from './audit-filter.ts';
import type { ChangeId, StoredChange } from './change-log.ts';

/** Texts by small numbers. */
class Words {
  readonly #numbers = new Map<string, number>();

  numberOf(word: string): number {
    const known = this.#numbers.get(word);
    if (known !== undefined) return known;
    this.#numbers.set(word, this.#numbers.size);
    return this.#numbers.size - 1;
  }

  /** -1 = it is not there. */
  find(word: string): number {
    return this.#numbers.get(word) ?? -1;
  }
}

/** What changes are found by, each word once. */
export class AuditWords {
  /** Of actors, operations and change sets. */
  readonly words = new Words();
  readonly #subjects: Subject[] = [];
  readonly #numbers = new Words();

  subjectNumber(subject: Subject): number {
    const { tenant, environment, application, key } = subject;
    const number = this.#numbers.numberOf([tenant, environment, application, key].join('/'));
    if (number === this.#subjects.length) this.#subjects.push(subject);
    return number;
  }

  get subjects(): readonly Subject[] {
    return this.#subjects;
  }
}

/** A filter made ready for many comparisons. */
export class PreparedFilter {
  readonly fromMs: number;
  readonly toMs: number;
  /** Null = any. */
  readonly actor: number | null;
  readonly operation: number | null;
  readonly changeSet: number | null;
  /** By the number of the subject: 0 = not looked at yet, 1 = meant, 2 = not meant. */
  readonly #subjects: Uint8Array;
  readonly #filter: AuditFilter;
  readonly #words: AuditWords;

  constructor(filter: AuditFilter, words: AuditWords) {
    const { fromMs, toMs } = timesOf(filter);
    const numberOf = (word: string | undefined): number | null =>
      word === undefined ? null : words.words.find(word);
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.actor = numberOf(filter.actor);
    this.operation = numberOf(filter.operation);
    this.changeSet = numberOf(filter.changeSet);
    this.#subjects = new Uint8Array(words.subjects.length);
    this.#filter = filter;
    this.#words = words;
  }

  means(subject: number): boolean {
    const known = this.#subjects[subject];
    if (known === 1) return true;
    if (known === 2) return false;
    const answer = matchesSubject(this.#filter, this.#words.subjects[subject]!);
    this.#subjects[subject] = answer ? 1 : 2;
    return answer;
  }
}

/** Changes in columns, in the order in which they are added: some 130 bytes each. */
export class AuditColumns {
  readonly #words: AuditWords;
  #ids: string[] = [];
  #revisions: number[] = [];
  #times: number[] = [];
  #actors: number[] = [];
  #operations: number[] = [];
  #changeSets: number[] = [];
  /** Where the subjects of each begin; one more than there are changes. */
  #begins: number[] = [0];
  #subjects: number[] = [];

  constructor(words: AuditWords) {
    this.#words = words;
  }

  get size(): number {
    return this.#ids.length;
  }

  add({ id, revision, record }: StoredChange): void {
    const { words } = this.#words;
    this.#ids.push(id);
    this.#revisions.push(revision);
    this.#times.push(Date.parse(record.at));
    this.#actors.push(words.numberOf(record.actor.name));
    this.#operations.push(words.numberOf(record.operation));
    this.#changeSets.push(record.changeSet === null ? -2 : words.numberOf(record.changeSet));
    for (const item of record.items) this.#subjects.push(this.#words.subjectNumber(subjectOf(item)));
    this.#begins.push(this.#subjects.length);
  }

  at(index: number): ChangeId {
    return { id: this.#ids[index]!, revision: this.#revisions[index]! };
  }

  revisionAt(index: number): number {
    return this.#revisions[index]!;
  }

  matches(index: number, filter: PreparedFilter): boolean {
    const time = this.#times[index]!;
    if (time < filter.fromMs || time >= filter.toMs) return false;
    if (filter.actor !== null && this.#actors[index] !== filter.actor) return false;
    if (filter.operation !== null && this.#operations[index] !== filter.operation) return false;
    if (filter.changeSet !== null && this.#changeSets[index] !== filter.changeSet) return false;
    for (let at = this.#begins[index]!; at < this.#begins[index + 1]!; at += 1) {
      if (filter.means(this.#subjects[at]!)) return true;
    }
    return false;
  }

  /** Keeps those from `first` up to, without, `end`. */
  keep(first: number, end: number): void {
    const begin = this.#begins[first]!;
    this.#subjects = this.#subjects.slice(begin, this.#begins[end]);
    this.#begins = this.#begins.slice(first, end + 1).map((at) => at - begin);
    this.#ids = this.#ids.slice(first, end);
    this.#revisions = this.#revisions.slice(first, end);
    this.#times = this.#times.slice(first, end);
    this.#actors = this.#actors.slice(first, end);
    this.#operations = this.#operations.slice(first, end);
    this.#changeSets = this.#changeSets.slice(first, end);
  }
}
