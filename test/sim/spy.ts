import { decodeCommand, encodeCommand } from '../../src/core/command.ts';
import type { Entry } from '../../src/core/raft/messages.ts';
import type { StateMarker } from '../../src/core/state.ts';
import { type Applied, StateMachine } from '../../src/core/state-machine.ts';
import { Proposals } from '../../src/member/proposals.ts';
import { jointChange } from './joint.ts';

/** What is seen of every state machine in this process. */
export interface StateMachineListener {
  /** Whether the log carries names of requests beside its users, which the store must not see. */
  readonly tagged: boolean;
  /** Whether changes of one member become changes of two: see `jointChange`. */
  readonly joint: boolean;
  applied(entry: Entry, applied: Applied): void;
  marked(marker: StateMarker): void;
  membersChanged(machine: StateMachine): void;
}

let listener: StateMachineListener | null = null;
let installed = false;

/** Between a command's user and the name of the client's request. */
const TAG = '\x01';
const requests = new WeakMap<object, string>();

/**
 * Where authentication is on, the user of a command is a user and cannot be the name of the request. So the name
 * travels behind it in the log, put on as the command is proposed and taken off before it is applied.
 */
export function nameRequest(signal: AbortSignal, name: string): void {
  requests.set(signal, name);
}

/** A command's user, and the name of its request or ''. */
export function untagged(user: string): { readonly user: string; readonly request: string } {
  const at = user.indexOf(TAG);
  return at < 0 ? { user, request: '' } : { user: user.slice(0, at), request: user.slice(at + 1) };
}

function withoutTag(entry: Entry): Entry {
  if (entry.kind !== 'normal' || entry.data.length === 0 || !entry.data.includes(TAG)) return entry;
  const command = decodeCommand(entry.data);
  const { user } = untagged(command.user);
  return user === command.user ? entry : { ...entry, data: encodeCommand({ ...command, user }) };
}

function tagProposals(): void {
  const { prototype } = Proposals;
  // oxlint-disable-next-line typescript/unbound-method
  const { propose } = prototype;
  prototype.propose = function (operation, context) {
    const request = listener?.tagged === true ? requests.get(context.signal) : undefined;
    if (request === undefined) return propose.call(this, operation, context);
    return propose.call(this, operation, { ...context, user: `${context.user ?? ''}${TAG}${request}` });
  };
}

/**
 * Lets the checkers look over the shoulder of every state machine. The production class is wrapped, not changed; what
 * it does and answers stays the same.
 */
export function watchStateMachines(next: StateMachineListener | null): void {
  listener = next;
  if (installed) return;
  installed = true;
  tagProposals();
  const { prototype } = StateMachine;
  // Each is called on the very object that it was taken from the prototype of.
  // oxlint-disable-next-line typescript/unbound-method
  const { apply, takeBatch, confStateChanged, finish } = prototype;
  prototype.apply = function (entry): Applied {
    const applied = apply.call(this, listener?.tagged === true ? withoutTag(entry) : entry);
    listener?.applied(entry, applied);
    if (applied.outcome.ok && applied.outcome.result.type === 'member') listener?.membersChanged(this);
    const { confChange } = applied;
    if (listener?.joint !== true || confChange === null || confChange === undefined) return applied;
    return { ...applied, confChange: jointChange(this.confState, confChange, entry.index) };
  };
  prototype.takeBatch = function () {
    const batch = takeBatch.call(this);
    if (batch !== null) listener?.marked(batch.marker);
    return batch;
  };
  prototype.confStateChanged = function (confState): void {
    confStateChanged.call(this, confState);
    listener?.membersChanged(this);
  };
  prototype.finish = function (marker): void {
    finish.call(this, marker);
    listener?.marked(marker);
  };
}
